"""P-tuning: learned vectors anywhere in a pattern (Liu et al. 2021, arXiv 2103.10385).

In training they come from a small network, of which nothing is left in a saved member.
The paper's vectors are the network's output. Here that is added to what they start from, so that ``{soft:it was}``
begins as these words and not as noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pet.tuning import soft

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class PromptNetwork(nn.Module):
    """A vector for each place, through a bidirectional LSTM (or not) and an MLP (arXiv 2103.10385, section 3.2).

    Parameters
    ----------
    length, width : of the vectors, (n, D)
    encoder : ``lstm``, where neighbours in the pattern have to do with each other, or ``mlp``
    """

    def __init__(self, length: int, width: int, encoder: str):
        super().__init__()
        half = (width + 1) // 2
        self.places = nn.Parameter(torch.randn(length, width))
        self.lstm = nn.LSTM(width, half, num_layers=2, bidirectional=True) if encoder == "lstm" else None
        self.first = nn.Linear(2 * half if encoder == "lstm" else width, width)
        self.last = nn.Linear(width, width)

    def forward(self) -> Tensor:
        """Shape (n, D)."""
        hidden = self.places if self.lstm is None else self.lstm(self.places)[0]
        values: Tensor = self.last(torch.relu(self.first(hidden)))
        return values


def inject(model: PreTrainedModel, start: Tensor, encoder: str) -> None:
    """Put learned vectors behind a network into a model; they start from `start`, shape (n, D)."""
    network = PromptNetwork(start.shape[0], start.shape[1], encoder)
    soft.inject(model, soft.Reparameterized(start, network, network.last))
