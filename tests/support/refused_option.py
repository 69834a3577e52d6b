"""Runs a program to which the kernel refuses a socket option, as other versions of it do.

`refused_option.py OPTION ERRNO PROGRAM…`: getsockopt(2) with that option fails with that error in
the program and all that it starts. strace cannot tell the options apart, but seccomp(2) can.
"""

import ctypes
import os
import platform
import sys

GETSOCKOPT = {"x86_64": 55, "aarch64": 209}
"""The number of the call by machine: asm/unistd.h."""

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
"""Of linux/prctl.h and linux/seccomp.h."""

LOAD, JUMP_UNLESS, RETURN = 0x20, 0x15, 0x06
"""BPF's instructions: load a word of `struct seccomp_data`, skip some unless equal, answer."""

ALLOW, FAIL = 0x7FFF0000, 0x00050000

CALL, OPTION = 0, 32
"""Where that structure has the call's number, and its third argument."""


class Instruction(ctypes.Structure):
    """A `struct sock_filter` of linux/filter.h."""

    _fields_ = (
        ("code", ctypes.c_uint16),
        ("then", ctypes.c_uint8),
        ("otherwise", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class Program(ctypes.Structure):
    """A `struct sock_fprog` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_uint16), ("first", ctypes.POINTER(Instruction)))


def refuse(option: int, error: int) -> None:
    """Have the kernel answer this process' questions for a socket option with an error."""
    instructions = [
        Instruction(*one)
        for one in (
            (LOAD, 0, 0, CALL),
            (JUMP_UNLESS, 0, 3, GETSOCKOPT[platform.machine()]),
            (LOAD, 0, 0, OPTION),
            (JUMP_UNLESS, 0, 1, option),
            (RETURN, 0, 0, FAIL | error),
            (RETURN, 0, 0, ALLOW),
        )
    ]
    program = Program(len(instructions), (Instruction * len(instructions))(*instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
    ):
        if libc.prctl(*call) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    refuse(int(sys.argv[1]), int(sys.argv[2]))
    os.execv(sys.argv[3], sys.argv[3:])  # noqa: S606  # the test chose the program
