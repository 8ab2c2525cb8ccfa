# Completion of leveret for bash.

# The commands of `leveret ctl`, as it lists them itself.
_leveret_ctl_commands() {
    "$1" ctl help 2>/dev/null | sed -n 's/^ \{2,\}\([a-z][a-z_]*\)\( .*\)\{0,1\}$/\1/p'
}

_leveret() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} word command=
    local serve='--amqp --amqps --tls --unix --http --https --metrics --data-dir --in-memory --config --compat --test-api --clock --faults --fail-on --ready-file --record --until-stdin-closes --log'
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $word in
        serve | config | repair | conformance | record | replay | ctl | help) command=$word && break ;;
        esac
    done
    COMPREPLY=()
    case $previous in
    --tls) COMPREPLY=($(compgen -W 'auto' -- "$current")) && return ;;
    --clock) COMPREPLY=($(compgen -W 'real virtual' -- "$current")) && return ;;
    --fail-on) COMPREPLY=($(compgen -W 'leaks deprecated unroutable never-consumed no-prefetch unacked unknown-tag errors' -- "$current")) && return ;;
    --compat | --profile) COMPREPLY=($(compgen -W 'permissive 3.13 4.0 4.1 4.3' -- "$current")) && return ;;
    --log) COMPREPLY=($(compgen -W 'error warning info debug trace none' -- "$current")) && return ;;
    --format) COMPREPLY=($(compgen -W 'table json' -- "$current")) && return ;;
    --data-dir) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$current")) && return ;;
    --unix | --config | --faults | --ready-file | --record | --check | --pcapng) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$current")) && return ;;
    --amqp | --amqps | --http | --https | --metrics | --only | --ctl | --timeout | --speed) return ;;
    esac
    case $command in
    '') COMPREPLY=($(compgen -W "serve config repair conformance record replay ctl help $serve --help --version" -- "$current")) ;;
    serve) COMPREPLY=($(compgen -W "$serve --help" -- "$current")) ;;
    config) COMPREPLY=($(compgen -W "--check --explain $serve --help" -- "$current")) ;;
    repair) COMPREPLY=($(compgen -W '--data-dir --drop --help' -- "$current")) ;;
    conformance)
        COMPREPLY=($(compgen -W '--format --only --profile --ctl --timeout --verbose --help' -- "$current"))
        ;;
    record)
        compopt -o filenames 2>/dev/null
        COMPREPLY=($(compgen -W 'show export --full --pcapng --help' -- "$current") $(compgen -f -- "$current"))
        ;;
    replay)
        compopt -o filenames 2>/dev/null
        COMPREPLY=($(compgen -W '--speed --as-fast-as-possible --timeout --help' -- "$current") $(compgen -f -- "$current"))
        ;;
    help) COMPREPLY=($(compgen -W 'serve config repair conformance record replay ctl' -- "$current")) ;;
    ctl)
        if [ "$previous" = ctl ]; then
            COMPREPLY=($(compgen -W "$(_leveret_ctl_commands "${COMP_WORDS[0]}")" -- "$current"))
        fi
        ;;
    esac
}

complete -F _leveret leveret
