import { Option } from 'commander'
import { printableJson, printableText } from '../../log/printable-text.ts'

/** Severity of a log line of a device process. */
export const LogLevel = { INFO: 'info', WARNING: 'warning', ERROR: 'error' } as const
export type LogLevel = (typeof LogLevel)[keyof typeof LogLevel]

export type LogFormat = 'text' | 'json'

export type Log = (level: LogLevel, message: string) => void

export function logFormatOption(): Option {
  return new Option('--log-format <format>', 'lines on standard error: for people, or an object each')
    .choices(['text', 'json'])
    .default('text')
}

/**
 * A log with one line for each message, whatever text of a guest or a front-end is in it.
 * @param device what tells one process from another
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
