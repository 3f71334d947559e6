/**
 * `/sbin/hotplug` of the guest: handles the kernel's events about devices that were added, removed or changed.
 *
 * Linux switches a screen off when its preferred mode changes, and on again with the next drawing; it updates the list
 * of modes only on request. On an idle console nothing draws and no program requests, so this script does both.
 */
export const HOTPLUG_SCRIPT = String.raw`#!/bin/sh
[ "$SUBSYSTEM" = drm ] && [ "$HOTPLUG" = 1 ] || exit 0
# The event arrives before the change.
sleep 0.5
for status in /sys/class/drm/*/status; do
	echo detect >$status
done
printf '\033[?25l\033[?25h' >/dev/tty1
`
