"""MuJoCo's C functions, called from compiled code.

A compiled function can only be kept on disk when it names no address, so the addresses of MuJoCo's
functions and of its arrays travel as numbers in one array, the *handles*, and become pointers inside.
One `MjData` serves all environments of a thread: what an environment is (positions, velocities and the
solver's warm start) is a row of an array, written into MjData before its step and read out after it.
"""

import ctypes
import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mujoco
import numba
import numpy as np
from llvmlite import ir
from numba import extending, types
from numpy.typing import NDArray

from septet.compiled import compiled
from septet.errors import InputError

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

carray: Any = vars(numba)["carray"]  # made at run time, for mypy
intrinsic: Callable[[Callable[..., Any]], Any] = extending.intrinsic

# Places of the handles: the model, the data, MuJoCo's functions, arrays of MjData, sizes.
MODEL, DATA, STEP, FORWARD, RESET, POST_CONSTRAINT = 0, 1, 2, 3, 4, 5
QPOS, QVEL, WARM_START, CTRL, BODY_XPOS, INERTIAL_XPOS, SITE_XPOS = 6, 7, 8, 9, 10, 11, 12
CINERT, CVEL, QFRC_ACTUATOR, QFRC_CONSTRAINT, CFRC_EXT = 13, 14, 15, 16, 17
NQ, NV, NU, NBODY, FRAME_SKIP = 18, 19, 20, 21, 22
HANDLES = 23

_FUNCTIONS = ("mj_step", "mj_forward", "mj_resetData", "mj_rnePostConstraint")  # in the order of their places
_ARRAYS = (
    "qpos qvel qacc_warmstart ctrl xpos xipos site_xpos cinert cvel qfrc_actuator qfrc_constraint cfrc_ext".split()
)


def silence() -> None:
    """Keep MuJoCo's warnings from the terminal and from a MUJOCO_LOG.TXT in the working directory.

    They are a deprecated attribute in a model, and simulations that become unstable, which MuJoCo then
    starts anew. MuJoCo counts the latter in MjData all the same. A handler of the process's own stays.
    """
    if mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(_ignore)


def _ignore(message: str) -> None:
    """Take a warning of MuJoCo."""


@functools.cache
def _library() -> ctypes.CDLL:
    folder = Path(mujoco.__file__).parent
    for pattern in ("libmujoco*.so*", "libmujoco*.dylib", "mujoco*.dll"):
        for file in sorted(folder.glob(pattern)):
            return ctypes.CDLL(str(file))
    raise InputError("mujoco", expected="its C library in its Python package", found="none")


def load_model(file: str) -> Any:
    """Compile one of the MJCF files that Gymnasium installs.

    Args:
        file: name among Gymnasium's assets, e.g. ``"half_cheetah.xml"``.

    Raises:
        InputError: Gymnasium or the file is not installed.
    """
    found = importlib.util.find_spec("gymnasium")  # importing it would cost a sampler half a second
    if found is None or found.origin is None:
        raise InputError("gymnasium", expected="an installed package (its MJCF files)", found="none")
    path = Path(found.origin).parent / "envs" / "mujoco" / "assets" / file
    if not path.exists():
        raise InputError(f"gymnasium: {file}", expected="an installed MJCF file", found="none")
    silence()
    return mujoco.MjModel.from_xml_path(str(path))


class Simulator:
    """One MjData of a model and the handles by which compiled code works on it; one per thread.

    Args:
        model: the MuJoCo model, which threads share.
        frame_skip: physics steps per environment step.
    """

    def __init__(self, model: Any, frame_skip: int) -> None:
        self.frame_skip = frame_skip
        self.model, self.data = model, mujoco.MjData(model)  # kept: the handles point into both
        handles = np.zeros(HANDLES, dtype=np.int64)
        handles[MODEL], handles[DATA] = model._address, self.data._address
        library = _library()
        for place, name in enumerate(_FUNCTIONS, STEP):
            handles[place] = ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
        for place, name in enumerate(_ARRAYS, QPOS):
            handles[place] = getattr(self.data, name).ctypes.data
        handles[[NQ, NV, NU, NBODY, FRAME_SKIP]] = model.nq, model.nv, model.nu, model.nbody, frame_skip
        self.handles: Integers = handles


@intrinsic
def _pointer(context: Any, address: Any) -> Any:
    """A pointer to float64 from its address."""
    del context

    def codegen(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], target.get_value_type(signature.return_type))

    pointer: Any = types.CPointer
    return pointer(types.float64)(address), codegen


@intrinsic
def _call(context: Any, function: Any, model: Any, data: Any) -> Any:
    """Call ``void function(model, data)`` by its address."""
    del context

    def codegen(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del signature
        word = ir.IntType(64)
        kind = ir.FunctionType(ir.VoidType(), [word, word])
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
        return target.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@compiled(nogil=True)
def call(handles: Integers, function: int) -> None:
    """Call one of MuJoCo's functions (its place among the handles) on this simulator."""
    _call(handles[function], handles[MODEL], handles[DATA])


@compiled(nogil=True)
def field(handles: Integers, place: int, size: int) -> Array:
    """The first `size` numbers of an array of MjData, as a view."""
    return carray(_pointer(handles[place]), (size,))


@compiled(nogil=True)
def copy(source: Array, to: Array) -> None:
    """Copy as many numbers as `to` has: an assignment to a slice would look first whether they overlap."""
    for i in range(to.size):
        to[i] = source[i]


@compiled(nogil=True)
def restore(handles: Integers, row: Array) -> None:
    """Write an environment's row (positions, velocities, warm start) into MjData."""
    nq, nv = handles[NQ], handles[NV]
    copy(row, field(handles, QPOS, nq))
    copy(row[nq:], field(handles, QVEL, nv))
    copy(row[nq + nv :], field(handles, WARM_START, nv))


@compiled(nogil=True)
def save(handles: Integers, row: Array) -> None:
    """Read an environment's row out of MjData."""
    nq, nv = handles[NQ], handles[NV]
    copy(field(handles, QPOS, nq), row[:nq])
    copy(field(handles, QVEL, nv), row[nq : nq + nv])
    copy(field(handles, WARM_START, nv), row[nq + nv : nq + 2 * nv])


@compiled(nogil=True)
def advance(handles: Integers, row: Array, action: Array) -> None:
    """One environment step of physics: the row in, `frame_skip` steps under the action, the row out."""
    restore(handles, row)
    copy(action, field(handles, CTRL, handles[NU]))
    for _ in range(handles[FRAME_SKIP]):
        call(handles, STEP)
    save(handles, row)


@compiled(nogil=True)
def begin(handles: Integers, start: Array, row: Array) -> None:
    """Start an episode at positions and velocities `start (nq + nv,)`, as Gymnasium's `set_state` does."""
    call(handles, RESET)
    nq = handles[NQ]
    copy(start, field(handles, QPOS, nq))
    copy(start[nq:], field(handles, QVEL, handles[NV]))
    call(handles, FORWARD)
    save(handles, row)
