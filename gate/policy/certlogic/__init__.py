"""CertLogic 1.3.3, the language of a rule's `when`: total, free of side effects, bounded in depth, size and work.

    when = condition({"in": ["ZJ", {"var": "says.GREEN"}]})     # once, when the rules are read
    when({"says": {"GREEN": ["ZJ"]}})                           # True, for every passenger

What the specification calls an error is a value here, `Failure`, so that no rule can stop a lane. Where the
specification is silent: date-times leave as text (2020-03-26T00:00:00.000Z); `1.0` is the integer 1, as in
JavaScript; `===` of two arrays, objects or date-times is an error, and so is a number with decimals as a condition.
"""

from gate.policy.certlogic.expression import compiled, condition, evaluate, validate
from gate.policy.certlogic.values import Failure, Json

__all__ = ["Failure", "Json", "compiled", "condition", "evaluate", "validate"]
