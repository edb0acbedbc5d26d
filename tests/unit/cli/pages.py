"""What the commands' tests share."""

TRANSITIONS = "/models/fraud/versions/2/transitions"


def page(*items: object) -> dict[str, object]:
    return {"items": items, "next_cursor": None}
