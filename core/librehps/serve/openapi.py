"""The server's own description: what FastAPI knows, and the token."""

from typing import Any

from fastapi import FastAPI

from librehps.serve.guard import HEALTH_PATH, METRICS_PATH, PROBE_PATHS
from librehps.serve.options import Access

# The lists of items, by model.
LISTS = {"Plain": "items", "Rewards": "requests"}
SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "the token of the server"},
    "basic": {"type": "http", "scheme": "basic", "description": "the token as the password"},
}


class DescribedApp(FastAPI):
    """An app whose description names the security schemes, if requests need a token."""

    def __init__(self, access: Access, max_items: int, **options: Any) -> None:
        self._access, self._max_items = access, max_items
        super().__init__(**options)

    def openapi(self) -> dict[str, Any]:
        """Return the description."""
        if self.openapi_schema is None:
            _complete(super().openapi(), self._access)
            models = self.openapi()["components"]["schemas"]
            for model, field in LISTS.items():
                models[model]["properties"][field]["maxItems"] = self._max_items
        return super().openapi()


def _complete(schema: dict[str, Any], access: Access) -> None:
    operations = [each for path in schema["paths"].values() for each in path.values()]
    for operation in operations:
        answer = operation["responses"]["200"].get("content", {}).get("application/json", {})
        # An answer has the shape of its request, so no answer has two shapes.
        if "anyOf" in answer.get("schema", {}):
            answer["schema"]["oneOf"] = answer["schema"].pop("anyOf")
    if access.token is None:
        return
    schema.setdefault("components", {})["securitySchemes"] = SCHEMES
    schema["security"] = [{name: []} for name in SCHEMES]
    for path in (*PROBE_PATHS, HEALTH_PATH, *([METRICS_PATH] if access.open_metrics else [])):
        for operation in schema["paths"].get(path, {}).values():
            operation["security"] = []
