"""aiogram's types are built when they are first used.

Building all of them is four fifths of importing aiogram, in each process of the tests. Import this before it.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

_names: dict[str, Any] = {}
_rebuild: Any = BaseModel.model_rebuild.__func__  # type: ignore[attr-defined]


def _model_rebuild(
    cls: type[BaseModel],
    *,
    _parent_namespace_depth: int = 2,
    _types_namespace: Any = None,
    **how: Any,
) -> bool | None:
    if cls.__module__.startswith("aiogram."):
        if _types_namespace:
            # aiogram at its import, with the names that its types refer to: kept until a type is used.
            _names.update(_types_namespace)
            return None
        _types_namespace = _names
        # Most others contain it, and take it over when it is built.
        if _names and cls is not _names["Message"] and not _names["Message"].__pydantic_complete__:
            _names["Message"].model_rebuild()
    return _rebuild(  # type: ignore[no-any-return]
        cls, _parent_namespace_depth=_parent_namespace_depth + 1, _types_namespace=_types_namespace, **how
    )


BaseModel.model_rebuild = classmethod(_model_rebuild)  # type: ignore[assignment,method-assign]
