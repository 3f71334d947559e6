import { type FramebufferLayout, sameLayout } from '../../../../services/framebuffer-layout.ts'
import type { NotShared, SharedBuffer } from '../../../../services/shared-buffer.ts'

/**
 * Export of one resource to other processes and devices of the host.
 *
 *              begin                       end
 *     private --------> exported -------------------> private
 *        |                 (its bytes moved)             ^
 *        | refuse                            forget      |
 *        +--------> refused ------------------------------
 *                      (other bytes may be exportable)
 *
 * The name and the layout are kept in every state, and given to each buffer.
 */
export class ResourceExport {
  #buffer: SharedBuffer | undefined
  #refusal: NotShared | undefined
  #wasExported = false
  #uuid: Uint8Array | undefined
  #layout: FramebufferLayout | undefined

  /** The buffer that exports the bytes; undefined unless exported. */
  get buffer(): SharedBuffer | undefined {
    return this.#buffer
  }

  /** Reason why the last attempt failed; undefined unless refused. */
  get refusal(): NotShared | undefined {
    return this.#refusal
  }

  /** True if the resource is or was exported, so that it is exported again when its bytes moved. */
  get wasExported(): boolean {
    return this.#wasExported
  }

  /** UUID by which other devices import it, if the guest requested one. @virtio 5.7.6.8 RESOURCE_ASSIGN_UUID */
  get uuid(): Uint8Array | undefined {
    return this.#uuid
  }

  /** Framebuffer layout of the bytes, if known. */
  get layout(): FramebufferLayout | undefined {
    return this.#layout
  }

  /** @param buffer the export owns it */
  begin(buffer: SharedBuffer): void {
    this.#refusal = undefined
    this.#buffer = buffer
    this.#wasExported = true
    if (this.#uuid) buffer.assignUuid(this.#uuid)
    if (this.#layout) buffer.describe(this.#layout)
  }

  refuse(reason: NotShared | undefined): void {
    this.#refusal = reason
  }

  /** Closes the buffer: its bytes are no longer those of the resource. */
  end(): void {
    this.#buffer?.close()
    this.#buffer = undefined
  }

  /** Permits another attempt after a refusal. */
  forget(): void {
    this.#refusal = undefined
  }

  assignUuid(uuid: Uint8Array): void {
    this.#uuid = uuid
    this.#buffer?.assignUuid(uuid)
  }

  describe(layout: FramebufferLayout): void {
    if (this.#layout && sameLayout(this.#layout, layout)) return
    this.#layout = layout
    this.#buffer?.describe(layout)
  }
}
