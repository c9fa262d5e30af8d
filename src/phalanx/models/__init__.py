"""Architectures: recipes of plain torch modules. Any module of a user's own works as well."""

from phalanx.models.cnn import CNN
from phalanx.models.confidence_gate import REFUSED, ConfidenceGate, confident_predictions
from phalanx.models.convnet8 import ConvNet8
from phalanx.models.flip_cnn import FlipCNN
from phalanx.models.logistic_regression import LogisticRegression
from phalanx.models.mlp import MLP
from phalanx.models.mobilenet import MobileNet
from phalanx.models.mobilenet_v3 import MobileNetV3
from phalanx.models.pretrained import Pretrained, load_run, model_sha256
from phalanx.models.resnet18 import ResNet18
from phalanx.models.resnet20 import ResNet20
from phalanx.models.resnet56 import ResNet56
from phalanx.models.sigmoid_cnn import SigmoidCNN
from phalanx.models.skymask_cnn import SkyMaskCNN

__all__ = [
    "CNN",
    "MLP",
    "REFUSED",
    "ConfidenceGate",
    "ConvNet8",
    "FlipCNN",
    "LogisticRegression",
    "MobileNet",
    "MobileNetV3",
    "Pretrained",
    "ResNet18",
    "ResNet20",
    "ResNet56",
    "SigmoidCNN",
    "SkyMaskCNN",
    "confident_predictions",
    "load_run",
    "model_sha256",
]
