"""Whether a plugin keeps its contract: checks that say what they prove, and on failure how to fix it.

`harness check my_net.py` runs them on the command line. In a plugin's own tests, one line makes each a named test:

    test_contract = harness.testing.parametrize("my_net.py")

Each check is a function `check_...(subject)` in the module of its kind (`harness.testing.models`, `losses`, `metrics`,
`datasets`, `recipes`, `observers`, `executors`, `hooks`); it returns, or raises `ContractError`, or `NotApplicable`.
"""

from harness.testing.contract import Check, ContractError, NotApplicable, Outcome, Subject
from harness.testing.examine import checks_of, examine, find_subjects, parametrize

__all__ = [
    "Check",
    "ContractError",
    "NotApplicable",
    "Outcome",
    "Subject",
    "checks_of",
    "examine",
    "find_subjects",
    "parametrize",
]
