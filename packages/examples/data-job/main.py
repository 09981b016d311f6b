"""Statistics of a web server's access log (Common Log Format, or nginx's and Apache's "combined").

The event, or the body of a request, is {"log": "the lines", "top": 5}. Python's standard library is all that it needs.
"""

import json
import re
import statistics
from collections import Counter, defaultdict
from datetime import datetime

LINE = re.compile(
    r'(?P<client>\S+) \S+ \S+ \[(?P<time>[^\]]+)\] '
    r'"(?P<method>[A-Z]+) (?P<target>\S+)[^"]*" (?P<status>\d{3}) (?P<bytes>\d+|-)'
)
TIME = "%d/%b/%Y:%H:%M:%S %z"


def handler(event, context):
    job = json.loads(event["body"]) if "body" in event else event
    lines = [line for line in job["log"].splitlines() if line.strip()]
    matches = [match for match in map(LINE.match, lines) if match]
    print(f"{len(matches)} of {len(lines)} lines are requests")
    return report(matches, len(lines) - len(matches), job.get("top", 5))


def report(matches, unreadable, top):
    sizes = [0 if m["bytes"] == "-" else int(m["bytes"]) for m in matches]
    paths = Counter(m["target"].partition("?")[0] for m in matches)
    return {
        "requests": len(matches),
        "unreadable": unreadable,
        "clients": len({m["client"] for m in matches}),
        "statuses": dict(sorted(Counter(m["status"] for m in matches).items())),
        "errorsByPath": errors_by_path(matches),
        "top": [{"path": path, "requests": n} for path, n in paths.most_common(top)],
        "bytes": {"total": sum(sizes), "median": statistics.median(sizes) if sizes else 0},
        "perHour": per_hour(matches),
    }


def errors_by_path(matches):
    errors = defaultdict(int)
    for match in matches:
        if match["status"] >= "500":
            errors[match["target"].partition("?")[0]] += 1
    return dict(sorted(errors.items()))


def per_hour(matches):
    hours = Counter(datetime.strptime(m["time"], TIME).strftime("%Y-%m-%dT%H") for m in matches)
    return dict(sorted(hours.items()))
