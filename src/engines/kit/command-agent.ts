/**
 * `/sbin/command-agent` of the guest: executes commands that come through a port of the console device.
 *
 *     guest   ready\n
 *     host    <command in base64>\n
 *     guest   <exit status in decimal>\n        output: on the ports for standard output and standard error
 *
 * The host sends the next command when it has the status of the last. So a reader with a buffer may be used for a line,
 * which is much faster than the shell's own `read` with its system call a byte.
 */
export const COMMAND_AGENT_SCRIPT = `#!/bin/sh
# Executes commands of the host, one at a time.

ports=/dev/virtio-ports
until [ -e $ports/org.outboard.command ] && [ -e $ports/org.outboard.stdout ] && [ -e $ports/org.outboard.stderr ]; do
	for port in /sys/class/virtio-ports/*; do
		[ -s $port/name ] && read -r name <$port/name && ln -sf ../\${port##*/} $ports/$name
	done
	[ $((tries += 1)) -gt 100 ] && exit
	[ $tries -gt 1 ] && sleep 0.1
done

exec 3<>$ports/org.outboard.command 4>$ports/org.outboard.stdout 5>$ports/org.outboard.stderr
echo ready >&3
while :; do
	# The mark behind it tells an empty command from no host.
	line=$(head -n 1 <&3; echo .)
	[ "$line" = . ] && sleep 0.2 && continue
	command=$(echo "\${line%.}" | base64 -d)
	cd /root
	setsid sh -c "$command" </dev/null >&4 2>&5 3>&- 4>&- 5>&-
	echo $? >&3
done
`
