"""Completion scripts for shells, made of the command line's own parser so that they can't lag."""

import argparse
from collections.abc import Iterator, Sequence
from typing import NamedTuple

#: commands whose arguments are keys of live sessions
_WITH_KEYS = ("show", "end")
#: options that say which gateway it is, and have to be the same when keys are asked for
_CONNECTION = ("--url", "--token-file", "--ca", "--certificate", "--key")

_BASH = r"""# bash completion of msrpgw-ctl; try it with: source <(msrpgw-ctl completion bash)
_msrpgw_ctl() {
    # bash has cut the line at : and @, which keys are full of; the line itself is what was typed.
    local line=${COMP_LINE:0:COMP_POINT} cur= takes= command= action= word candidates=
    local -a typed=() connection=()
    read -ra typed <<<"$line"
    if [[ $line != *[[:space:]] ]]; then
        cur=${typed[${#typed[@]}-1]}
        unset "typed[${#typed[@]}-1]"
    fi
    for word in "${typed[@]:1}"; do
        if [[ -n $takes ]]; then
            case $takes in
                --key) [[ -z $command ]] && connection+=("$takes" "$word") ;;
                @CONNECTION@) connection+=("$takes" "$word") ;;
            esac
            takes=
        elif [[ " @VALUED@ " == *" $word "* ]]; then
            takes=$word
        elif [[ $word == --url=* || $word == --token-file=* ]]; then
            connection+=("$word")
        elif [[ $word != -* && -z $command ]]; then
            command=$word
        elif [[ $word != -* && -z $action ]]; then
            action=$word
        fi
    done
    COMPREPLY=()
    if [[ -n $takes ]]; then
        case "$command $takes" in
@VALUES@
        esac
    elif [[ $cur == -* ]]; then
        case "$command" in
@OPTIONS@
        esac
    else
        case "$command" in
@ARGUMENTS@
        esac
    fi
    COMPREPLY=($(compgen -W "$candidates" -- "$cur"))
}
_msrpgw_ctl_keys() {
    local plain=${cur//\\/} key given quoted breaks='^[:=@<>|&;(]+$'
    given=${COMP_WORDS[COMP_CWORD]}
    [[ $given =~ $breaks ]] && given=
    given=${cur%"$given"}
    while IFS= read -r key; do
        printf -v quoted %q "$key"
        COMPREPLY+=("${quoted#"$given"}")
    done < <("$1" ${connection[@]+"${connection[@]}"} --timeout 2 keys -- "$plain" 2>/dev/null)
}
complete -F _msrpgw_ctl msrpgw-ctl
"""

_ZSH = r"""#compdef msrpgw-ctl
# zsh completion of msrpgw-ctl; try it with: source <(msrpgw-ctl completion zsh)
_msrpgw_ctl() {
    local curcontext="$curcontext" state line option
    local -a connection commands
    typeset -A opt_args
    _arguments -C \
@GLOBAL@
        '1:command:->command' \
        '*::argument:->argument'
    case $state in
        command)
            commands=(
@COMMANDS@
            )
            _describe command commands
            ;;
        argument)
            for option in @CONNECTION@; do
                [[ -n $opt_args[$option] ]] && connection+=($option ${(Q)opt_args[$option]})
            done
            case $line[1] in
@ARGUMENTS@
            esac
            ;;
    esac
}
_msrpgw_ctl_keys() {
    local -a keys
    keys=(${(f)"$(msrpgw-ctl $connection --timeout 2 keys -- ${(Q)PREFIX} 2>/dev/null)"})
    compadd -a keys
}
if [[ $funcstack[1] == _msrpgw-ctl ]]; then
    _msrpgw_ctl "$@"
else
    compdef _msrpgw_ctl msrpgw-ctl
fi
"""

_FISH = r"""# fish completion of msrpgw-ctl; try it with: msrpgw-ctl completion fish | source
function __msrpgw_ctl_keys
    set -l connection
    set -l takes
    for word in (commandline -opc)
        if test -n "$takes"
            set -a connection $takes $word
            set takes
        else if contains -- $word @CONNECTION@
            set takes $word
        end
    end
    msrpgw-ctl $connection --timeout 2 keys -- (commandline -ct) 2>/dev/null
end
complete -c msrpgw-ctl -f
@COMPLETE@
"""


class _Option(NamedTuple):
    flag: str
    help: str
    valued: bool
    choices: tuple[str, ...]
    file: bool


class _Command(NamedTuple):
    name: str
    help: str
    options: tuple[_Option, ...]
    actions: tuple[str, ...]  #: what may come as its first argument; empty for anything
    file: bool  #: whether its argument is a file


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """The script for "bash", "zsh" or "fish"."""
    options = tuple(_options(parser))
    commands = [_command(name, made) for name, made in _subparsers(parser).items()]
    make = {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]
    return make(options, commands)


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _options(parser: argparse.ArgumentParser) -> Iterator[_Option]:
    for action in parser._actions:
        flags = [flag for flag in action.option_strings if flag.startswith("--")]
        if flags:
            yield _Option(
                flags[0],
                (action.help or "").partition(" (default")[0],
                action.nargs != 0,
                tuple(action.choices or ()),
                action.metavar == "FILE",
            )


def _command(name: str, parser: argparse.ArgumentParser) -> _Command:
    below = _subparsers(parser)
    options = {option.flag: option for option in _options(parser)}
    for each in below.values():
        options |= {option.flag: option for option in _options(each)}
    arguments = [
        action
        for action in parser._actions
        if not action.option_strings and not isinstance(action, argparse._SubParsersAction)
    ]
    actions = tuple(below)
    if arguments and arguments[0].choices:
        actions = tuple(arguments[0].choices)
    file = bool(arguments) and arguments[0].metavar == "FILE"
    return _Command(name, parser.description or "", tuple(options.values()), actions, file)


def _fill(template: str, **parts: Sequence[str] | str) -> str:
    for name, part in parts.items():
        text = part if isinstance(part, str) else "\n".join(part)
        template = template.replace(f"@{name}@", text)
    return template


def _bash(options: Sequence[_Option], commands: Sequence[_Command]) -> str:
    every = [("", option) for option in options]
    every += [(command.name, option) for command in commands for option in command.options]
    files = 'COMPREPLY=($(compgen -f -- "$cur")); return'
    indent = " " * 12
    values = []
    for name, option in every:
        # A command's own option comes under its name: --key is a file before the command only.
        where = f'"{name} {option.flag}")'
        if option.choices:
            values.append(f'{indent}{where} candidates="{" ".join(option.choices)}" ;;')
        elif option.file:
            values.append(f"{indent}{where} {files} ;;")
    values.append(f"{indent}*) return ;;")
    flags = {"": options} | {command.name: command.options for command in commands}
    arguments = [f'{indent}"") candidates="{" ".join(each.name for each in commands)}" ;;']
    for command in commands:
        if command.name in _WITH_KEYS:
            arguments.append(f'{indent}{command.name}) _msrpgw_ctl_keys "$1"; return ;;')
        elif command.actions:
            words = " ".join(command.actions)
            arguments.append(f'{indent}{command.name}) [[ -z $action ]] && candidates="{words}" ;;')
        elif command.file:
            arguments.append(f"{indent}{command.name}) {files} ;;")
    valued = sorted({option.flag for _, option in every if option.valued})
    return _fill(
        _BASH,
        CONNECTION="|".join(flag for flag in _CONNECTION if flag != "--key"),
        VALUED=" ".join(valued),
        VALUES=values,
        OPTIONS=[
            f'{indent}"{name}") candidates="{" ".join(each.flag for each in some)}" ;;'
            for name, some in flags.items()
        ],
        ARGUMENTS=arguments,
    )


def _quote(text: str) -> str:
    """In single quotes, as zsh reads it."""
    return "'" + text.replace("'", "'\\''") + "'"


def _zsh_option(option: _Option) -> str:
    words = option.help.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    spec = f"{option.flag}[{words}]"
    if option.valued:
        values = f"({' '.join(option.choices)})" if option.choices else ""
        spec += f":{option.flag[2:]}:{'_files' if option.file else values}"
    return _quote(spec)


def _zsh(options: Sequence[_Option], commands: Sequence[_Command]) -> str:
    arguments = []
    for command in commands:
        specs = [_zsh_option(option) for option in command.options]
        if command.name in _WITH_KEYS:
            specs.append("'*:key:_msrpgw_ctl_keys'")
        elif command.actions:
            specs.append(_quote(f"1:{command.name}:({' '.join(command.actions)})"))
        elif command.file:
            specs.append("'1:file:_files'")
        arguments += [
            f"{' ' * 16}{command.name})",
            f"{' ' * 20}_arguments \\",
            *(f"{' ' * 24}{spec} \\" for spec in specs[:-1]),
            f"{' ' * 24}{specs[-1]}",
            f"{' ' * 20};;",
        ]
    return _fill(
        _ZSH,
        GLOBAL=[f"{' ' * 8}{_zsh_option(option)} \\" for option in options],
        COMMANDS=[
            f"{' ' * 16}{_quote(each.name + ':' + each.help.replace(':', chr(92) + ':'))}"
            for each in commands
        ],
        CONNECTION=" ".join(_CONNECTION),
        ARGUMENTS=arguments,
    )


def _fish_quote(text: str) -> str:
    """In single quotes, as fish reads it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _fish(options: Sequence[_Option], commands: Sequence[_Command]) -> str:
    lines = []

    def add(condition: str, rest: str) -> None:
        lines.append(f"complete -c msrpgw-ctl -n {_fish_quote(condition)} {rest}")

    def add_option(condition: str, option: _Option) -> None:
        rest = f"-l {option.flag[2:]} -d {_fish_quote(option.help)}"
        if option.file:
            rest += " -r -F"
        elif option.valued:
            rest += f" -x -a {_fish_quote(' '.join(option.choices))}" if option.choices else " -x"
        add(condition, rest)

    for option in options:
        add_option("__fish_use_subcommand", option)
    for command in commands:
        add("__fish_use_subcommand", f"-a {command.name} -d {_fish_quote(command.help)}")
        seen = f"__fish_seen_subcommand_from {command.name}"
        for option in command.options:
            add_option(seen, option)
        if command.name in _WITH_KEYS:
            add(seen, "-a '(__msrpgw_ctl_keys)'")
        elif command.actions:
            add(seen, f"-a {_fish_quote(' '.join(command.actions))}")
        elif command.file:
            add(seen, "-F")
    return _fill(_FISH, CONNECTION=" ".join(_CONNECTION), COMPLETE=lines)
