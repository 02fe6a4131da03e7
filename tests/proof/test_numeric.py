"""The proof by numbers, of split classes whose ops are right and whose numbers are not."""

import pytest
import torch
from timm.models.convit import ConVit
from timm.models.vision_transformer import VisionTransformer

from codegen.proof.numeric import check_numbers
from tests_proof_support import splitting
