/**
 * `/init` of the guest: the first process, written for busybox's shell.
 *
 * It loads the drivers of existing devices, reports boot steps on the first serial port, starts shells on the screen
 * and on the console, configures networks, and starts the command agent. Then it reaps child processes, and shuts down
 * on request.
 */
export const INIT_SCRIPT = String.raw`#!/bin/busybox sh
# Outboard's guest image: the first process.

# The shell finds busybox's commands itself, before files of that name; other programs need a file for each command.
/bin/busybox mount -a
mkdir -p /dev/pts /dev/virtio-ports /run
mount -t devpts devpts /dev/pts
busybox --install -s 2>/dev/null
# Messages of a kernel without firmware tables are kept off the screen before this point.
echo 4 >/proc/sys/kernel/printk

export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root USER=root SHELL=/bin/sh PS1='\w # '
cd /root
echo outboard >/proc/sys/kernel/hostname
ip link set lo up

# There is no udev: each device of the virtio bus has its driver's alias. evdev belongs to no device.
modprobe -q virtio_pci
devices=$(cat /sys/bus/virtio/devices/*/modalias 2>/dev/null)
[ -n "$devices" ] && modprobe -qa $devices evdev
# Persistent memory is found by a second driver, on a bus of its own.
[ -e /sys/module/virtio_pmem ] && modprobe -q nd_pmem
# A blinking cursor would damage the screen several times a second.
[ -e /sys/class/graphics/fbcon/cursor_blink ] && echo 0 >/sys/class/graphics/fbcon/cursor_blink
echo 'outboard: devices ready' >/dev/ttyS0

# Restarts a shell on a terminal: keep_shell TTY TERM
keep_shell() {
	while :; do
		# The terminal cannot be opened while its device is missing.
		{ TERM=$2 setsid -c sh -c "echo \$\$ >/run/shell.$1; exec sh" <>/dev/$1 >&0 2>&1; } 2>/dev/null || sleep 1
	done
}
printf '\033[H\033[JOutboard: Linux %s on devices written in TypeScript.\nDisks are /dev/vda and up: mount them anywhere. poweroff ends the guest.\n' "$(uname -r)" >/dev/tty1
keep_shell tty1 linux &
keep_shell hvc0 xterm-256color &

# Commands start after the network is configured, if it answers; otherwise udhcpc retries in the background.
bring_up_network() {
	for interface in $(cd /sys/class/net && echo e*); do
		ip link set $interface up && udhcpc -i $interface -s /sbin/dhcp-lease -O mtu -b -t 3 -T 1 -A 10
	done
}
(bring_up_network; . /sbin/command-agent) </dev/null >/dev/null 2>&1 &
uevent /sbin/hotplug </dev/null >/dev/null 2>&1 &

for port in /sys/class/virtio-ports/*; do
	[ -e $port/name ] && read -r name <$port/name && ln -s ../$(basename $port) "/dev/virtio-ports/$name"
done

# busybox's poweroff, reboot and halt send a signal to the first process.
shut_down() {
	trap '' USR1 USR2 TERM
	kill -TERM -1
	sleep 0.2
	kill -KILL -1
	sync
	umount -a -r 2>/dev/null
	$1 -f
}
trap 'shut_down halt' USR1
trap 'shut_down poweroff' USR2
trap 'shut_down reboot' TERM

while :; do
	wait
	sleep 1
done
`
