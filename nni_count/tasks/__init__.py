"""What is regressed from an image."""
