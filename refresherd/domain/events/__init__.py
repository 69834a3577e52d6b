"""What happens in the daemon, as values without secrets, for metrics and logs.

An instant in an event is boot time: who shows it to people turns it into wall time.
A new event belongs in `Event`, and mypy then names every observer that lacks it.
"""

from refresherd.domain.events.outputs import (
    HookRan,
    HookResult,
    OutputFailed,
    OutputRemoved,
    OutputWritten,
)
from refresherd.domain.events.process import (
    AppCrashed,
    ClockJumped,
    Jump,
    LoopLagged,
    Reloaded,
    ReloadFailed,
    Started,
    Stopping,
    Warned,
)
from refresherd.domain.events.sessions import (
    AttemptBegan,
    AttemptFailed,
    CredentialChanged,
    Ending,
    EntityMismatch,
    LoginPostponed,
    Renewed,
    SessionChecked,
    SessionEnded,
    SessionResumed,
    TokenExpired,
)
from refresherd.domain.events.sockets import (
    AcceptFailed,
    AccessDenied,
    ApiAnswered,
    ApiRoute,
    ConnectionRejected,
)

Event = (
    AttemptBegan
    | Renewed
    | AttemptFailed
    | LoginPostponed
    | SessionChecked
    | SessionResumed
    | TokenExpired
    | CredentialChanged
    | EntityMismatch
    | SessionEnded
    | OutputWritten
    | OutputRemoved
    | OutputFailed
    | HookRan
    | ApiAnswered
    | AccessDenied
    | ConnectionRejected
    | AcceptFailed
    | AppCrashed
    | ClockJumped
    | LoopLagged
    | Started
    | Warned
    | Reloaded
    | ReloadFailed
    | Stopping
)

__all__ = [
    "AcceptFailed",
    "AccessDenied",
    "ApiAnswered",
    "ApiRoute",
    "AppCrashed",
    "AttemptBegan",
    "AttemptFailed",
    "ClockJumped",
    "ConnectionRejected",
    "CredentialChanged",
    "Ending",
    "EntityMismatch",
    "Event",
    "HookRan",
    "HookResult",
    "Jump",
    "LoginPostponed",
    "LoopLagged",
    "OutputFailed",
    "OutputRemoved",
    "OutputWritten",
    "ReloadFailed",
    "Reloaded",
    "Renewed",
    "SessionChecked",
    "SessionEnded",
    "SessionResumed",
    "Started",
    "Stopping",
    "TokenExpired",
    "Warned",
]
