import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KernelFileError } from './kernel-file-error.ts'
import { unpackXz } from './xz.ts'

// Made with `xz --check=crc32 --x86 --lzma2=dict=4KiB` and similar commands.
const BRANCHES = Buffer.from(
  '/Td6WFoAAAFpIt42AgEEACEBAADaM60D4AXbA5hdAAA6Tg2+M0fcHqMDbNb8YeZtDq1iJpCZ8iCUjlmpfArDT06LJmTkRa8hkrN7QyQzVyyq' +
    'tpQmCMSjuCW6HwOwLsySnWbaTdCu7/aQRBri7kJivv7qw7WGGtg5hdt+VvybS+VFPqGDvJ90pBhPBKXh6j3dUYi44BuRqlzNLPTXzmF7cNEo' +
    'BifkN1LfMYPB/dZineeB44ubkdM7BHApNb6drCn3mnDVGAJGhFihbP0PYZsSesr+s258fV7Jt2KT2VyeEH2TIF4BM7VrAmMEYfbTUNNzuLn6' +
    'KOaRgg/2c/g77AdcP0l3pBd3yrK9usHSj7bmCsgoFCKwtFKc85tR00ib5LmHlFysqF43D/hKhKBSwS+rSnhTMdOwuLniEewwMbEjM38w1i+0' +
    '0887/IEN7Qa29l2KR/6O2ukA6/Z8KHkdxNHWmXKAoJtiby5W3Y/0VWESspzD6CvxvniHcvdKMrHvXCMmFdsRT+Tm8ZHcGG6YfJfJlsnzXlkY' +
    'nphHGYtkpoKCTCMJmG5yyO6rVMoYD2y9Cw/3kLh+sbrFrQRmzQhwGOvLtX8nCMGQP9YesCeIx8tDHYgdC4ASFa9my2oT22OY0+OSfgZQj6QX' +
    'FF8SUAdsbyKzFV0deDftoebtGSOv6CxsxWgnGk7ZOcj62oELnPTl0UAUGrRiviSSr9O97SgnFT0a3Xo5ntksBa96WHom8sGTp2oF5mex/d1X' +
    'Q8CrnDF+X0ndcOjABXdLfjkC2mtN/XYEeg2GujLKk2WOg3xs6F9AKd9M+yQIHEHPvtcOkJ6UdvxOuheeFttqgAvO0qbJx/l37yEOIvDnnQ4K' +
    '6bD11ZhSQPF8Tc1WK3oCkTfT2cXpXB3XF+niSmYTccAwDuCyUjdb5eaLfuTYvoTp1UZr2ELoHqj2OXXufTPKGeDsADcWvnkTZ39nOdCPiGVp' +
    '3gLsgf/OBiNcYv5e5ZDexfb4AeJf/AK+IqQkLA8DXRHzze6Gp8Xf+7qrf3mmigUQpWJYBJrqjw1+qJ8P5n3EL2vkZoNlzWwlcqlL93pB959c' +
    'oxEOnp+cqSbjfmmG+QFmqxxR/EMLUXcKcpIovikaGMqjnPpyqrAH0AKOIiOs1QVX8aZ8VOrzSXnD38PtGNwMyt91lM6s8YM8PKBk9seoVXDN' +
    't2vCvubCsfZ53kBG1wuK6+UNKnlHh0ttqf+ztdP5e60OHuzmMkODcCXE6xlTGqARDMRBhXh6OFLgFTwAALkgH8wAAbAH3AsAAHjyaAs+MA2L' +
    'AgAAAAABWVo=',
  'base64',
)
const PLAIN = Buffer.from(
  '/Td6WFoAAAFpIt42AgAhAQAAAAA3J5fW4ADbABJdADgbCEeCspz+OEcp+bEXaaRAAAAAANFQfWgAASrcAQAAALAH25E+MA2LAgAAAAABWVo=',
  'base64',
)
/** Made with `xz -T2`: the header of the block contains its sizes too. */
const WITH_SIZES = Buffer.from(
  '/Td6WFoAAAFpIt42A8Aa3AEhAQAAAAAA8HphAeAA2wASXQA4GwhHgrKc/jhHKfmxF2mkQAAAAADRUH1oAAEu3AEAAACmRUoKPjANiwIAAAAAAVla',
  'base64',
)
const DELTA = Buffer.from('/Td6WFoAAAFpIt42AgEDAQAhAQAolRAaAQAEcPz1CAUAAAAAz2IgGQABGQW86OzLkEKZDQEAAAAAAVla', 'base64')
const OTHER_CHECK = Buffer.from(
  '/Td6WFoAAATm1rRGAgAhARYAAAB0L+WjAQAEcGxhaW4AAAAA5SUBKpxhmxwAAR0FuC2Arx+2830BAAAAAARZWg==',
  'base64',
)

/** Opcodes of branches and parts of their addresses in every order: hard cases for the filter. */
function branchesAndSigns(): Uint8Array {
  const alphabet = [0xe8, 0xe9, 0x00, 0xff, 0x12, 0x90]
  let seed = 1
  return Uint8Array.from({ length: 1500 }, () => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
    return alphabet[(seed >>> 16) % alphabet.length] ?? 0
  })
}

test('the filter for x86 branches is undone', async () => {
  assert.deepEqual(await unpackXz(BRANCHES), branchesAndSigns())
})

test('a stream without the filter is unpacked', async () => {
  for (const packed of [PLAIN, WITH_SIZES]) {
    assert.equal(Buffer.from(await unpackXz(packed)).toString(), 'plain text '.repeat(20))
  }
})

test('a changed byte is detected at every position', async () => {
  for (let at = 0; at < PLAIN.length; at++) {
    const changed = Buffer.from(PLAIN)
    changed[at] ^= 0x01
    // The checksums of header, index and footer are not needed, and not verified.
    const unpacked = await unpackXz(changed).catch(() => undefined)
    if (unpacked) assert.equal(Buffer.from(unpacked).toString(), 'plain text '.repeat(20), `byte ${at}`)
  }
})

test('truncated and unsupported streams are refused with a reason', async () => {
  for (let length = 0; length < PLAIN.length; length++) await assert.rejects(unpackXz(PLAIN.subarray(0, length)))
  await assert.rejects(unpackXz(DELTA), /filters are unsupported: 3,33/)
  await assert.rejects(unpackXz(OTHER_CHECK), KernelFileError)
  await assert.rejects(unpackXz(new Uint8Array(100)), /not compressed with xz/)
})
