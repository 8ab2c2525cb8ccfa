#compdef leveret
# Completion of leveret for zsh.

_leveret() {
    local context state state_descr line
    typeset -A opt_args
    local -a serve
    serve=(
        '--amqp[address to serve AMQP on]:address:'
        '--amqps[address to serve AMQP over TLS on]:address:'
        '--tls[where the certificate comes from]:source:(auto)'
        '--unix[socket to serve AMQP on]:path:_files'
        '--http[address to serve the HTTP API on]:address:'
        '--https[address to serve the HTTP API over TLS on]:address:'
        '--metrics[address to serve metrics for Prometheus on]:address:'
        '(--in-memory)--data-dir[directory for what is to survive]:directory:_directories'
        '(--data-dir)--in-memory[keep everything in memory]'
        '*--config[configuration file]:file:_files'
        '--test-api[serve /api/test]'
        '--clock[whose time messages live in]:clock:(real virtual)'
        '--faults[file of rules for faults]:file:_files'
        '--fail-on[what makes it end with exit code 3]:what:_values -s , what leaks deprecated unroutable never-consumed no-prefetch unacked unknown-tag errors'
        '--compat[release of RabbitMQ]:profile:(permissive 3.13 4.0 4.1 4.3)'
        '--ready-file[file to write once the broker serves]:file:_files'
        '--record[file or directory to record all frames in]:file:_files'
        '--until-stdin-closes[stop when standard input is at its end]'
        '--log[log level]:level:(error warning info debug trace none)'
        '(- *)'{-h,--help}'[list the options]'
    )
    _arguments -C $serve '(- *)'{-V,--version}'[print the version]' '1: :->command' '*:: :->arguments' && return
    case $state in
    command)
        local -a commands
        commands=(
            'serve:run the broker (the default)'
            'config:print the configuration'
            'repair:look for damage in a data directory'
            'conformance:say which behaviours a broker fulfils'
            'record:look at a recording'
            'replay:play a recording against a broker'
            'ctl:ask or change a running node'
            'help:list the commands'
        )
        _describe command commands
        ;;
    arguments)
        case $line[1] in
        serve) _arguments $serve ;;
        config)
            _arguments $serve '--check[only say what is wrong with a file]:file:_files' '--explain[say what each key means]'
            ;;
        repair)
            _arguments '--data-dir[the data directory]:directory:_directories' '--drop[drop what is damaged]' \
                '(- *)'{-h,--help}'[list the options]'
            ;;
        conformance)
            _arguments '1:url:' '--format[how to say what came of it]:format:(table json)' '--only[rows]:rows:' \
                '--profile[release to hold it to]:profile:(permissive 3.13 4.0 4.1 4.3)' '--ctl[command for an administrator]:command:' \
                '--timeout[how long to wait for an answer]:seconds:' {-v,--verbose}'[show every difference]' \
                '(- *)'{-h,--help}'[list the options]'
            ;;
        record)
            _arguments '1:action:(show export)' '2:recording:_files' '--full[bodies in full]' '--pcapng[capture to write]:file:_files' \
                '(- *)'{-h,--help}'[list the options]'
            ;;
        replay)
            _arguments '1:recording:_files' '2:url:' '(--as-fast-as-possible)--speed[how many times as fast]:times:' \
                '(--speed)--as-fast-as-possible[wait for nothing but replies]' '--timeout[how long to wait for an answer]:seconds:' \
                '(- *)'{-h,--help}'[list the options]'
            ;;
        help) _values command serve config repair conformance record replay ctl ;;
        ctl)
            # As it lists them itself.
            local -a commands
            commands=(${(f)"$(_call_program commands leveret ctl help 2>/dev/null |
                sed -n 's/^ \{2,\}\([a-z][a-z_]*\) *\(.*\)$/\1:\2/p')"})
            if (( CURRENT == 2 )); then _describe command commands; fi
            ;;
        esac
        ;;
    esac
}

_leveret "$@"
