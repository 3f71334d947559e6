/**
 * Shell commands, in one line, after which the kernel's console no longer draws on the guest's screen. Its text and its
 * cursor would be drawn over a picture, at any moment.
 *
 * Linux gives the screen to its console at the first output there, so the commands print something and wait for that.
 * The framebuffer stays as it is.
 */
export const BARE_SCREEN = [
  'until console=$(grep -l frame.buffer /sys/class/vtconsole/*/name); do echo >/dev/tty0; sleep 0.1; done',
  'echo 0 >$(dirname $console)/bind',
].join('; ')
