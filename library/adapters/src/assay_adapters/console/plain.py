"""Help and errors of Typer without the names of Python's types and the words of pydantic."""

from typing import Any

import typer
from pydantic import ValidationError
from typer.core import TyperArgument, TyperGroup, TyperOption

from assay.domain.wording import worded


class PlainGroup(TyperGroup):
    """A command line whose wrong values are explained in plain words."""

    def invoke(self, ctx: Any) -> Any:
        """Does what the base class does."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if isinstance(cause := error.__cause__, ValidationError):
                error.message = worded(cause.errors(include_url=False, include_input=False)[0])
            raise


def _metavar(self: TyperOption, ctx: Any) -> str:
    """What the help of an option shows for its value: nothing that the option does not say."""
    del ctx
    return self.metavar or ""


def _nothing(self: TyperArgument, ctx: Any) -> str:
    """An argument's name says enough."""
    del self, ctx
    return ""


def plain_help() -> None:
    """From now on, help shows no `<bool>` and `<list[str]>`: Typer has no setting for it."""
    TyperOption.display_type_rich = _metavar
    TyperArgument.display_type_rich = _nothing
