"""ENAS: a controller learns which paths of the space to draw (Pham et al., ICML 2018)."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from nni_count.runs.ranges import Range, check
from nni_count.searching.nni import ModelSpace, Probabilities
from strategies.paths import Path, PathModule, RandomOneShot


class Controller(nn.Module):
    """An LSTM that decides label after label, knowing what it has decided.

    Args:
        options: label → what it may be.
        width: of its state.
    """

    def __init__(self, options: dict[str, list[Any]], width: int = 64):
        super().__init__()
        self.fixed = {label: some for label, some in options.items() if len(some) == 1}
        self.options = options = {label: some for label, some in options.items() if len(some) > 1}
        self.cell = nn.LSTMCell(width, width)
        self.first = nn.Parameter(torch.zeros(1, width))
        self.decided = nn.ModuleList(nn.Embedding(len(some), width) for some in list(options.values())[:-1])
        self.heads = nn.ModuleList(nn.Linear(width, len(some)) for some in options.values())
        for head in self.heads:
            nn.init.uniform_(head.weight, -0.01, 0.01)  # type: ignore[arg-type]
            nn.init.zeros_(head.bias)  # type: ignore[arg-type]

    def forward(self, greedy: bool = False) -> tuple[Path, Tensor, Tensor, dict[str, Tensor]]:
        """Decide on a path.

        Returns:
            The path, its log-probability, the entropy of all decisions, and label → log-probabilities of its options.
        """
        path: Path = {label: only for label, [only] in self.fixed.items()}
        logs = {label: self.first.new_zeros(1) for label in self.fixed}
        total = entropy = self.first.new_zeros(())
        given, state, number = self.first, None, torch.zeros(())
        for place, (label, some) in enumerate(self.options.items()):
            if place:
                given = self.decided[place - 1](number)[None]
            state = self.cell(given, state)
            log = torch.log_softmax(self.heads[place](state[0])[0], 0)
            logs[label] = log
            # on the CPU, so that a seed draws the same on every device
            number = log.argmax() if greedy else torch.multinomial(log.detach().exp().cpu(), 1)[0].to(log.device)
            path[label] = some[int(number)]
            total = total + log[number]
            entropy = entropy - (log.exp() * log).sum()
        return path, total, entropy, logs


class EnasModule(PathModule):
    """Rewards the controller with what the task thinks of the path it draws, on the half for the architecture.

    Args:
        training_module: how a network is trained, and its ``task``.
        strategy: whose settings the controller learns with.
    """

    baseline: Tensor

    def __init__(self, training_module: LightningModule, strategy: ENAS):
        super().__init__(training_module, candidates=strategy.candidates)
        self.strategy = strategy
        self.warmup_epochs = strategy.warmup_epochs
        self.register_buffer("baseline", torch.tensor(float("nan")))

    def set_model(self, model: ModelSpace) -> None:
        super().set_model(model)
        self.controller = Controller(self.options)

    def configure_architecture_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.controller.parameters(), self.strategy.arc_learning_rate)

    @property
    def warming_up(self) -> bool:
        return bool(self.trainer.current_epoch < self.warmup_epochs)

    def draw(self) -> Path:
        if self.warming_up:
            return super().draw()
        with torch.no_grad():
            path, *_ = self.controller()
        return dict(path)

    def learn_to_draw(self, batch: Any) -> None:
        if self.warming_up:
            super().learn_to_draw(batch)
            return
        path, log_probability, entropy, _ = self.controller()
        self.follow(path)
        reward = 1 - self.error(batch)
        # of all processes: checkpoints keep the first one's baseline, and all go on with it
        usual = self.trainer.strategy.reduce(torch.tensor(reward, device=self.baseline.device), reduce_op="mean")
        if torch.isnan(self.baseline):
            self.baseline.copy_(usual)
        advantage = reward - float(self.baseline)
        self.baseline.lerp_(usual, 1 - self.strategy.baseline_decay)
        optimizer: Any = self.architecture_optimizers()
        optimizer.zero_grad()
        self.manual_backward(-advantage * log_probability - self.strategy.entropy_weight * entropy)
        optimizer.step()
        self.log("reward", reward, on_step=False, on_epoch=True, batch_size=len(batch[0]), sync_dist=True)

    def proposals(self) -> list[Path]:
        with torch.no_grad():
            greedy, *_ = self.controller(greedy=True)
        return [greedy, *super().proposals()]

    def probabilities(self) -> tuple[Probabilities, Probabilities]:
        """Of operations and of edges, on the way of the most probable decisions; those of an edge sum to 1 a node."""
        with torch.no_grad():
            _, _, _, logs = self.controller(greedy=True)
        alphas: Probabilities = {}
        betas: Probabilities = {}
        for label, log in logs.items():
            some, values = self.options[label], log.double().exp().tolist()
            if isinstance(some[0], list):
                edges = sorted({edge for combination in some for edge in combination})
                betas[label] = {
                    edge: sum(p for p, taken in zip(values, some, strict=True) if edge in taken) / len(some[0])
                    for edge in edges
                }
            else:
                alphas[label] = dict(zip(some, values, strict=True))
        return alphas, betas


class ENAS(RandomOneShot):
    """Efficient neural architecture search via parameter sharing (Pham et al., ICML 2018).

    Each step, an LSTM controller draws a path, is rewarded for how well the path does on a batch of the half for
    the architecture (REINFORCE with a moving average as baseline), and draws a path along which the weights are
    trained. What is exported is the best of paths that the controller draws, compared on such batches. NNI's own needs
    the abandoned packages tianshou and gym, and knows no node that keeps several edges.

    Args:
        arc_learning_rate: of the controller; the original's.
        entropy_weight: of the entropy of its decisions; the original's.
        baseline_decay: of the moving average of rewards.
        warmup_epochs: epochs, or below 1 a share of the search, at the start in which paths are drawn
            evenly and the controller stays.
        candidates: paths that are compared after every epoch.
    """

    def __init__(
        self,
        *,
        arc_learning_rate: Annotated[float, Range(0)] = 3.5e-4,
        entropy_weight: Annotated[float, Range(0)] = 1e-4,
        baseline_decay: Annotated[float, Range(0, 1)] = 0.95,
        warmup_epochs: Annotated[float, Range(0)] = 0,
        candidates: Annotated[int, Range(1)] = 20,
    ):
        check(ENAS.__init__, locals(), "strategy.")
        super().__init__(candidates=candidates)
        self.arc_learning_rate = arc_learning_rate
        self.entropy_weight = entropy_weight
        self.baseline_decay = baseline_decay
        self.warmup_epochs = warmup_epochs

    def configure_oneshot_module(self, training_module: LightningModule) -> EnasModule:
        return EnasModule(training_module, self)
