"""The composition root, and the only package that imports Ray.

Ray reads these when it is first imported: everything on loopback (it else
binds every interface, whatever it is told later), workers at the niceness of
any process (its default of 15 lets anything else delay an exit), no usage reports,
and half a second until a process that hangs is killed where it does not end by
itself (5 s else). What the environment says already stays.
"""

import os

for _name, _value in {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_worker_niceness": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_kill_worker_timeout_milliseconds": "500",
}.items():
    os.environ.setdefault(_name, _value)
