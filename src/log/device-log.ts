import { printableJson, printableText } from './printable-text.ts'

/** Severity of a log line of a device process. */
export const LogLevel = { INFO: 'info', WARNING: 'warning', ERROR: 'error' } as const
export type LogLevel = (typeof LogLevel)[keyof typeof LogLevel]

export const LOG_FORMATS = ['text', 'json'] as const
export type LogFormat = (typeof LOG_FORMATS)[number]

export type Log = (level: LogLevel, message: string) => void

/**
 * Creates a log that writes one line for each message. Control characters in it are escaped.
 * @param device name of the device, in each line
 */
export function createLog(device: string, format: LogFormat, write: (text: string) => void): Log {
  return (level, message) => {
    const line = message.replaceAll('\n', ' ')
    write(`${format === 'json' ? jsonLine(device, level, line) : textLine(device, level, line)}\n`)
  }
}

function textLine(device: string, level: LogLevel, message: string): string {
  return `outboard ${device}: ${level === LogLevel.INFO ? '' : `${level}: `}${printableText(message)}`
}

function jsonLine(device: string, level: LogLevel, message: string): string {
  return printableJson({ time: new Date().toISOString(), device, level, message })
}
