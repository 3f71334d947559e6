/**
 * `/sbin/hotplug` of the guest: what its kernel tells of devices that come, go or change.
 *
 * Linux switches a screen off when it is to have another size, and on again with the next thing drawn on it; the modes it
 * tells are those of the last time somebody asked. On a quiet console nobody draws and nobody asks, so this does.
 */
export const HOTPLUG_SCRIPT = String.raw`#!/bin/sh
[ "$SUBSYSTEM" = drm ] && [ "$HOTPLUG" = 1 ] || exit 0
# The event comes before the change.
sleep 0.5
for status in /sys/class/drm/*/status; do
	echo detect >$status
done
printf '\033[?25l\033[?25h' >/dev/tty1
`
