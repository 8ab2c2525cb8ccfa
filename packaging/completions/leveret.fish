# Completion of leveret for fish.

set -l commands serve config repair conformance record replay ctl help
set -l serving "not __fish_seen_subcommand_from repair conformance record replay ctl help"

complete -c leveret -f
complete -c leveret -n "not __fish_seen_subcommand_from $commands" -a serve -d 'Run the broker (the default)'
complete -c leveret -n "not __fish_seen_subcommand_from $commands" -a config -d 'Print the configuration'
complete -c leveret -n "not __fish_seen_subcommand_from $commands" -a repair -d 'Look for damage in a data directory'
complete -c leveret -n "not __fish_seen_subcommand_from $commands" -a conformance -d 'Say which behaviours a broker fulfils'
complete -c leveret -n "not __fish_seen_subcommand_from $commands" -a record -d 'Look at a recording'
complete -c leveret -n "not __fish_seen_subcommand_from $commands" -a replay -d 'Play a recording against a broker'
complete -c leveret -n "not __fish_seen_subcommand_from $commands" -a ctl -d 'Ask or change a running node'
complete -c leveret -n "not __fish_seen_subcommand_from $commands" -a help -d 'List the commands'
complete -c leveret -n "not __fish_seen_subcommand_from $commands" -s V -l version -d 'Print the version'
complete -c leveret -n "not __fish_seen_subcommand_from ctl" -s h -l help -d 'List the options'
complete -c leveret -n "__fish_seen_subcommand_from help" -a 'serve config repair conformance record replay ctl'

complete -c leveret -n "$serving" -x -l amqp -d 'Address to serve AMQP on'
complete -c leveret -n "$serving" -x -l amqps -d 'Address to serve AMQP over TLS on'
complete -c leveret -n "$serving" -x -l tls -a auto -d 'Where the certificate comes from'
complete -c leveret -n "$serving" -r -F -l unix -d 'Socket to serve AMQP on'
complete -c leveret -n "$serving" -x -l http -d 'Address to serve the HTTP API on'
complete -c leveret -n "$serving" -x -l https -d 'Address to serve the HTTP API over TLS on'
complete -c leveret -n "$serving" -x -l metrics -d 'Address to serve metrics for Prometheus on'
complete -c leveret -n "$serving" -x -l data-dir -a '(__fish_complete_directories)' -d 'Directory for what is to survive'
complete -c leveret -n "$serving" -l in-memory -d 'Keep everything in memory'
complete -c leveret -n "$serving" -r -F -l config -d 'Configuration file'
complete -c leveret -n "$serving" -l test-api -d 'Serve /api/test'
complete -c leveret -n "$serving" -x -l clock -a 'real virtual' -d 'Whose time messages live in'
complete -c leveret -n "$serving" -r -F -l faults -d 'File of rules for faults'
complete -c leveret -n "$serving" -x -l fail-on -a 'leaks deprecated unroutable never-consumed no-prefetch unacked unknown-tag errors' -d 'What makes it end with exit code 3'
complete -c leveret -n "$serving" -x -l compat -a 'permissive 3.13 4.0 4.1 4.3' -d 'Release of RabbitMQ'
complete -c leveret -n "$serving" -r -F -l ready-file -d 'File to write once the broker serves'
complete -c leveret -n "$serving" -r -F -l record -d 'File or directory to record all frames in'
complete -c leveret -n "$serving" -l until-stdin-closes -d 'Stop when standard input is at its end'
complete -c leveret -n "$serving" -x -l log -a 'error warning info debug trace none' -d 'Log level'

complete -c leveret -n "__fish_seen_subcommand_from config" -r -F -l check -d 'Only say what is wrong with a file'
complete -c leveret -n "__fish_seen_subcommand_from config" -l explain -d 'Say what each key means'

complete -c leveret -n "__fish_seen_subcommand_from repair" -x -l data-dir -a '(__fish_complete_directories)' -d 'The data directory'
complete -c leveret -n "__fish_seen_subcommand_from repair" -l drop -d 'Drop what is damaged'

complete -c leveret -n "__fish_seen_subcommand_from conformance" -x -l format -a 'table json' -d 'How to say what came of it'
complete -c leveret -n "__fish_seen_subcommand_from conformance" -x -l only -d 'Rows'
complete -c leveret -n "__fish_seen_subcommand_from conformance" -x -l profile -a 'permissive 3.13 4.0 4.1 4.3' -d 'Release to hold it to'
complete -c leveret -n "__fish_seen_subcommand_from conformance" -x -l ctl -d 'Command for an administrator'
complete -c leveret -n "__fish_seen_subcommand_from conformance" -x -l timeout -d 'How long to wait for an answer'
complete -c leveret -n "__fish_seen_subcommand_from conformance" -s v -l verbose -d 'Show every difference'

complete -c leveret -n "__fish_seen_subcommand_from record" -F -a 'show export'
complete -c leveret -n "__fish_seen_subcommand_from record" -l full -d 'Bodies in full'
complete -c leveret -n "__fish_seen_subcommand_from record" -r -F -l pcapng -d 'Capture to write'

complete -c leveret -n "__fish_seen_subcommand_from replay" -F
complete -c leveret -n "__fish_seen_subcommand_from replay" -x -l speed -d 'How many times as fast'
complete -c leveret -n "__fish_seen_subcommand_from replay" -l as-fast-as-possible -d 'Wait for nothing but replies'
complete -c leveret -n "__fish_seen_subcommand_from replay" -x -l timeout -d 'How long to wait for an answer'

# As it lists them itself.
complete -c leveret -n "__fish_seen_subcommand_from ctl; and test (count (commandline -opc)) -eq 2" \
    -a "(leveret ctl help 2>/dev/null | string replace -rf '^ {2,}([a-z][a-z_]*) *(.*)\$' '\$1\t\$2')"
