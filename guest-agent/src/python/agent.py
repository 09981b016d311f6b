"""Starts the agent for Python functions; see mayfly_agent/main.py."""

import sys

from mayfly_agent.main import main

# The agent's folder is for the agent. `import mayfly` goes on to work: it is loaded.
sys.path.pop(0)
main()
