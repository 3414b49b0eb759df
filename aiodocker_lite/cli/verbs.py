"""Typer with docker's manners: a verb with its usage line, and nothing imported to read a word."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from itertools import islice
from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from aiodocker_lite import __version__
from aiodocker_lite.errors import InvalidOption, NotSupported

_SWITCHED = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}


def build(modules: Mapping[str, str]) -> TyperGroup:
    """The command line with these verbs, each from its module of this package."""
    app = typer.Typer(
        cls=Verbs,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        suggest_commands=False,  # the nearest word may be one that deletes
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(
        invoke_without_command=True,
        help="Pull container images from any registry and run them, without a daemon.",
    )(_globals)
    for verb, name in modules.items():
        module = import_module(f"aiodocker_lite.cli.{name}")
        # Everything after the image belongs to the container, and after a command to that.
        settings = {"allow_interspersed_args": verb not in ("run", "exec", "unshare")}
        app.command(verb, cls=Verb, context_settings=settings)(getattr(module, verb.split()[-1]))
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    return group


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"aiodocker-lite {__version__}")
        raise typer.Exit


def _globals(
    context: typer.Context,
    root: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="The directory of the store.  [env: AIODOCKER_LITE_ROOT]"),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.obj = root
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


class Verbs(TyperGroup):
    """All of the command line, or what of it was asked for."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _with_light_conversions(super().get_params(ctx))


class Verb(TyperCommand):
    """A command whose arguments look in its help as they do in docker's: metavars say all of it."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _with_light_conversions(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, self._prepared(ctx, args))
        except typer.TyperException as error:
            if option := _lacking(ctx, error):
                raise NotSupported(option) from error
            # Some do not know where they happened, and are to show the way to this verb's help.
            if getattr(error, "ctx", None) is None:
                vars(error)["ctx"] = ctx
            raise

    def _prepared(self, ctx: Any, args: list[str]) -> list[str]:
        """Have ``--rm=true``, ``-ti=false`` and ``-w=/tmp``, as docker's parser reads them."""
        options = [option for option in self.get_params(ctx) if isinstance(option, TyperOption)]
        known = {name: option for option in options for name in option.opts}
        found: list[str] = []
        rest = iter(args)
        for word in rest:
            if word == "--" or not (word.startswith("-") or ctx.allow_interspersed_args):
                return [*found, word, *rest]
            words, values = _long(word, known) if word.startswith("--") else _short(word, known)
            found += [*words, *islice(rest, values)]
        return found

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["[OPTIONS]", *(metavar for metavar, _ in self._arguments())]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        options = [option for option in self.get_params(ctx) if isinstance(option, TyperOption)]
        sections = {
            "Arguments": [(metavar, help) for metavar, help in self._arguments() if help],
            "Options": [record for option in options if (record := option.get_help_record(ctx))],
        }
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def _arguments(self) -> list[tuple[str, str]]:
        arguments = [parameter for parameter in self.params if isinstance(parameter, TyperArgument)]
        return [(argument.metavar or argument.name.upper(), argument.help or "") for argument in arguments]


def _long(word: str, known: Mapping[str, TyperOption]) -> tuple[list[str], int]:
    """What to read in the place of this word, and how many of the next words belong to it."""
    name, assigned, value = word.partition("=")
    if name not in known or not known[name].is_flag:
        return [word], int(name in known and not assigned)
    return [name] if not assigned or _switched(known[name], value) else [], 0


def _short(word: str, known: Mapping[str, TyperOption]) -> tuple[list[str], int]:
    """The same of letters that share a dash; of a value, docker drops one equals sign before it."""
    for at in range(1, len(word)):
        name, value = f"-{word[at]}", word[at + 1 :]
        if name not in known:
            break
        assigned = value.startswith("=") and len(value) > 1
        if not known[name].is_flag:
            return [word[: at + 1] + (value[1:] if assigned else value)], int(not value)
        if assigned:
            letters = word[: at + 1] if _switched(known[name], value[1:]) else word[:at]
            return [letters] if len(letters) > 1 else [], 0
    return [word], 0


def _switched(option: TyperOption, value: str) -> bool:
    if value.lower() not in _SWITCHED:
        raise InvalidOption(option.opts[0], f"'{value}' is neither true nor false")
    if option.default and not _SWITCHED[value.lower()]:
        raise InvalidOption(option.opts[0], "it cannot be switched off here")
    return _SWITCHED[value.lower()]


def _lacking(ctx: Any, error: typer.TyperException) -> str | None:
    option = getattr(error, "option_name", None)
    if option is None:
        return None
    from aiodocker_lite.cli.lacking import lacking

    return lacking(ctx.info_name, option)


def _with_light_conversions(parameters: list[Any]) -> list[Any]:
    """Have typer convert only what needs it: its pydantic takes longer to import than most commands to run."""
    for parameter in parameters:
        known = vars(parameter).get("get_runtime_param")
        if hasattr(parameter, "get_runtime_param") and not isinstance(known, _Conversion):
            parameter.get_runtime_param = _Conversion(parameter)
    return parameters


class _Conversion:
    """From what a user wrote to what a function is to get; stands before typer's own."""

    def __init__(self, parameter: Any) -> None:
        self._wanted = parameter.type_descriptor.annotation
        self._typers_own = parameter.get_runtime_param

    def __call__(self) -> _Conversion:
        return self

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if value is None or (self._wanted in (str, int) and isinstance(value, self._wanted)):
            return value
        if self._wanted == list[str] and all(isinstance(word, str) for word in value):
            return list(value)
        return self._typers_own().coerce(value, param=param, ctx=ctx)
