"""Layers that components and plugins share, and loading of weights."""

from vaezoo.nn.layers import Activation as Activation
from vaezoo.nn.layers import GatedLinear as GatedLinear
from vaezoo.nn.layers import Norm as Norm
from vaezoo.nn.layers import ResidualBlock as ResidualBlock
from vaezoo.nn.layers import activation_layer as activation_layer
from vaezoo.nn.layers import dense as dense
from vaezoo.nn.layers import masked as masked
from vaezoo.nn.layers import mlp as mlp
from vaezoo.nn.layers import norm2d as norm2d
