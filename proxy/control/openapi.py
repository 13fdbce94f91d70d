"""The OpenAPI 3.1 document, from the wire models."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from pydantic.json_schema import models_json_schema

from proxy.control.status import own_version
from proxy.wire import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel

_REF: Final = "#/components/schemas/{model}"


@dataclass(frozen=True, slots=True)
class Operation:
    """One call. `errors`: HTTP statuses besides those that every call can have."""

    method: str
    path: str
    summary: str
    body: type[BaseModel] | None
    answer: type[BaseModel] | None
    errors: tuple[int, ...] = ()
    media_type: str = "application/json"


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """The whole document, as plain data."""
    listed = list(operations)
    bodies = {operation.body for operation in listed if operation.body is not None}
    answers = {operation.answer for operation in listed if operation.answer is not None} | {Problem}
    _, schemas = models_json_schema(
        [
            *((model, "validation") for model in sorted(bodies, key=lambda model: model.__name__)),
            *((model, "serialization") for model in sorted(answers - bodies, key=lambda model: model.__name__)),
        ],
        ref_template=_REF,
    )
    paths: dict[str, dict[str, Any]] = {}
    for operation in listed:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Switchyard admin API", "version": own_version()},
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],
    }


def _operation(operation: Operation) -> dict[str, Any]:
    errors = {401, 403, *operation.errors}
    if operation.body is not None:
        errors |= {400, 413, 415, 422}
    return {
        "summary": operation.summary,
        "operationId": _operation_id(operation),
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"\{(\w+)\}", operation.path)
        ],
        **({"requestBody": {"required": True, "content": _json(operation.body)}} if operation.body else {}),
        "responses": {
            "200": {"description": "Done.", "content": {operation.media_type: _schema(operation.answer)}},
            **{
                str(status): {
                    "description": HTTPStatus(status).phrase,
                    "content": {"application/problem+json": _schema(Problem)},
                }
                for status in sorted(errors)
            },
        },
    }


def _operation_id(operation: Operation) -> str:
    words = [word for word in re.split(r"[/{}.]", operation.path) if word and word != "v1"]
    return operation.method.lower() + "".join(word.capitalize() for word in words)


def _json(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": _schema(model)}


def _schema(model: type[BaseModel] | None) -> dict[str, Any]:
    return {"schema": {"$ref": _REF.format(model=model.__name__)}} if model is not None else {}
