"""In which order places are tried: the chosen one, then the others from the soonest first token on."""

from serving_node.routing import Decision


def in_order(decision: Decision) -> list[bytes]:
    """Node ids, the chosen one first."""
    others = sorted(decision.candidates, key=lambda candidate: candidate.predicted_ttft_s)
    return [decision.node_id, *(candidate.node_id for candidate in others if candidate.node_id != decision.node_id)]
