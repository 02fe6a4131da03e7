"""In the manner of compact convolutional transformers: a stem of convolutions, torch's own encoder, no matcher."""

import torch
from tiny_parts import tokens
from torch import nn
from torch.nn import functional as F


class CompactTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.positional_emb = tokens(4)
        self.dropout = nn.Dropout(0.1)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.attention_pool = nn.Linear(16, 1)

    def forward_features(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = x.flatten(2).transpose(1, 2)
        x = x + self.positional_emb
        x = self.dropout(x)
        x = self.transformer(x)
        weights = torch.softmax(self.attention_pool(x), dim=1)
        return (weights * x).sum(1)


class PlainTransformer(nn.Module):
    """The same without a position: nothing but what is run tells where the embedding ends."""

    def __init__(self):
        super().__init__()
        self.tokenizer = nn.Sequential(nn.Conv2d(3, 16, 4, 4), nn.ReLU(), nn.Flatten(2))
        self.classifier = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2, enable_nested_tensor=False
        )
        self.norm = nn.LayerNorm(16)

    def forward_features(self, x):
        x = self.tokenizer(x).transpose(1, 2)
        x = self.classifier(x)
        return self.norm(x)
