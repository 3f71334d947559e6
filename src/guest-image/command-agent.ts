/**
 * `/sbin/command-agent` of the guest: executes commands that it receives through a port of the console device.
 *
 *     guest   ready\n
 *     host    <command in base64>\n
 *     guest   <exit status in decimal>\n        output: on the ports for standard output and standard error
 *
 * The host sends the next command after the status of the previous one. A tool with a buffer may therefore read the end
 * of a long line: the shell's own `read` costs a system call per byte, but is faster for a short line than a new
 * process.
 */
export const COMMAND_AGENT_SCRIPT = `#!/bin/sh
# Executes commands of the host, one at a time.

find_ports() {
	for port in /sys/class/virtio-ports/*; do
		[ -e $port/name ] && read -r name <$port/name || continue
		case $name in
			org.outboard.command) command_port=/dev/\${port##*/} ;;
			org.outboard.stdout) stdout_port=/dev/\${port##*/} ;;
			org.outboard.stderr) stderr_port=/dev/\${port##*/} ;;
		esac
	done
	[ -c "$command_port" ] && [ -c "$stdout_port" ] && [ -c "$stderr_port" ]
}

# The host announces the ports one after another.
until find_ports; do
	[ $((tries += 1)) -gt 100 ] && exit
	sleep 0.1
done

# The shell on the screen must print its prompt before a command draws: wait until the shell waits for input.
shell_waits() {
	read -r shell </run/shell.tty1 && case $(cat /proc/$shell/wchan) in
		do_sys_poll | wait_woken | n_tty_read) ;;
		*) false ;;
	esac
}
tries=0
until shell_waits; do
	[ $((tries += 1)) -gt 50 ] && break
	sleep 0.1
done

exec 3<>$command_port 4>$stdout_port 5>$stderr_port
echo ready >&3
while :; do
	if ! read -r -n 4096 line <&3; then
		# The host closed its end.
		sleep 0.2
		continue
	fi
	command=$({
		printf %s "$line"
		[ \${#line} -eq 4096 ] && head -n 1 <&3
	} | base64 -d)
	cd /root
	setsid sh -c "$command" </dev/null >&4 2>&5 3>&- 4>&- 5>&-
	echo $? >&3
done
`
