"""Where learned numbers come from: the numbers themselves, or a network during training."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Numbers(nn.Module):
    """Learned numbers, trained directly."""

    def __init__(self, values: Tensor):
        super().__init__()
        self.values = nn.Parameter(values)

    def forward(self) -> Tensor:
        """Return the numbers."""
        return self.values


class Reparameterized(nn.Module):
    """Initial values plus the output of a network.

    Parameters
    ----------
    start : initial values, not trained
    network : takes no input and returns as many numbers as `start` has
    last : its last layer, which is set to zero here so that training begins at the initial values
    """

    start: Tensor

    def __init__(self, start: Tensor, network: nn.Module, last: nn.Linear):
        super().__init__()
        self.register_buffer("start", start, persistent=False)
        self.network = network
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self) -> Tensor:
        """Return the numbers, in the shape of `start`."""
        with torch.autocast(self.start.device.type, enabled=False):
            return self.start + self.network().view_as(self.start)


class PromptNetwork(nn.Module):
    """A vector per position, through a bidirectional LSTM (optional) and an MLP (arXiv 2103.10385, section 3.2).

    Parameters
    ----------
    length, width : shape of the vectors, (n, D)
    encoder : ``lstm``, in which neighboring positions influence each other, or ``mlp``
    """

    def __init__(self, length: int, width: int, encoder: str):
        super().__init__()
        half = (width + 1) // 2
        self.places = nn.Parameter(torch.randn(length, width))
        self.lstm = nn.LSTM(width, half, num_layers=2, bidirectional=True) if encoder == "lstm" else None
        self.first = nn.Linear(2 * half if encoder == "lstm" else width, width)
        self.last = nn.Linear(width, width)

    def forward(self) -> Tensor:
        """Return vectors of shape (n, D)."""
        hidden = self.places if self.lstm is None else self.lstm(self.places)[0]
        values: Tensor = self.last(torch.relu(self.first(hidden)))
        return values


class KeyValueNetwork(nn.Module):
    """The keys and values of all layers per position, through an MLP (arXiv 2101.00190, section 4.3).

    Parameters
    ----------
    length : number of positions
    outputs : numbers per position
    hidden : width of the MLP
    """

    def __init__(self, length: int, outputs: int, hidden: int):
        super().__init__()
        self.places = nn.Parameter(torch.randn(length, hidden))
        self.first = nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, outputs)

    def forward(self) -> Tensor:
        """Return numbers of shape (length, outputs)."""
        values: Tensor = self.last(torch.tanh(self.first(self.places)))
        return values
