"""One slot's Tomcat: its files, its process, its release.

Everything that is known of it lies in its base directory and in the process itself, so that any later deployer can
take over: the Tomcat outlives the deployer, is found by its pid file, and without one by its command line.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deployer import durable
from deployer.clock import Clock, SystemClock
from deployer.errors import InstanceError
from deployer.release import InstanceFacts
from deployer.tomcat import account as accounts
from deployer.tomcat import layout, log, ports
from deployer.tomcat.control import Control, ControlError
from deployer.tomcat.deployment import Deployment
from deployer.tomcat.processes import Processes, ProcessId
from deployer.tomcat.readiness import Health, Seen, Verdict, judge
from deployer.tomcat.readiness import Verdict as _Verdict
