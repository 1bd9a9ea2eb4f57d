"""Weights shared out over the processes: FSDP2, torch's `fully_shard`.

Each process keeps its part of every float32 weight, of its gradient and of Adam's two moments. A layer is put together,
in the type that the model computes in, when a forward or backward pass comes to it, and its gradient goes back in
parts. All processes must therefore make the same passes; `empg.forward.batches` sees to it. The parts are at the same
time the masters of `septet.empg.policy.Masters`. Outside of this file few need to know whether a weight is whole.
"""

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


def shard(policy: Any, device: torch.device, computes_in: torch.dtype) -> None:
    """Share a policy's weights out over all processes, layer by layer; it may lie on the processor before.

    Args:
        policy: an `septet.empg.policy.Policy`, whole, and the same in each process. What is trained becomes float32.
        device: where the parts go.
        computes_in: type of the passes.
    """
    mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
    mixed = MixedPrecisionPolicy(param_dtype=computes_in, reduce_dtype=torch.float32)
    for part in [*layers_of(policy.lm), policy]:
        if any(weight.requires_grad for weight in part.parameters()):
            part.float()
        made = fully_shard(part, mesh=mesh, mp_policy=mixed, reshard_after_forward=True)
        made.set_gradient_divide_factor(1.0)  # a loss is a sum: the gradients of the processes add up
        made.set_force_sum_reduction_for_comms(True)
    policy.to(device)  # buffers


def layers_of(lm: Any) -> list[Any]:
    """The transformer's layers."""
    return [layer for part in lm.base_model.children() if isinstance(part, nn.ModuleList) for layer in part]


def local(weight: Tensor) -> Tensor:
    """This process's part of a weight, sharing its memory; the weight itself where it is whole."""
    weight = weight.detach()
    return weight.to_local() if isinstance(weight, DTensor) else weight


def whole(weight: Tensor, part: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """A weight put together. Where weights are sharded all processes have to call it.

    Args:
        part: this process's part of another array of the same shape, which is put together instead.
        dtype: type of the result; none for the type it has.
    """
    part = (local(weight) if part is None else part).to(dtype)
    if not isinstance(weight, DTensor):
        return part
    made = DTensor.from_local(
        part, weight.device_mesh, weight.placements, run_check=False, shape=weight.shape, stride=weight.stride()
    )
    return made.full_tensor()


def cut(weight: Tensor, array: Tensor) -> Tensor:
    """This process's part of a whole array that is cut like the weight."""
    if not isinstance(weight, DTensor):
        return array
    return distribute_tensor(array, weight.device_mesh, weight.placements, src_data_rank=None).to_local()
