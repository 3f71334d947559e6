import { UnixStream } from '../../../host/linux/unix-stream.ts'
import type { VhostUserExtension } from '../extension.ts'

/** Display of a GPU at its front-end. */
export interface GpuScreen {
  /** Takes the front-end's socket of GPU_SET_SOCKET, in place of the earlier one. */
  connect(stream: UnixStream): void
  /** The connection ended. */
  disconnect(): void
}

/**
 * Messages to GPUs. @vhost-user GPU_SET_SOCKET
 * @param screen receives the socket. If undefined, the socket is kept open and unused: QEMU's GPU fails without a back-end for it
 */
export function gpuExtension(screen: GpuScreen | undefined): VhostUserExtension {
  let unused: UnixStream | undefined
  return {
    handlers: {
      GPU_SET_SOCKET: (_, [descriptor]) => {
        const stream = UnixStream.fromDescriptor(descriptor)
        if (screen) {
          screen.connect(stream)
          return
        }
        unused?.close()
        unused = stream
      },
    },
    disconnected() {
      unused?.close()
      unused = undefined
      screen?.disconnect()
    },
  }
}
