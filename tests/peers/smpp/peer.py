#!/usr/bin/env python3
"""A foreign SMPP server for tests: the `smpp34` library takes texts, answers, and sends receipts.

    python3 -m venv VENV && VENV/bin/pip install -r requirements.txt
    VENV/bin/python peer.py [--port P] [--texts N] [--seconds S] [--no-receipts]

The library's server does the session. In front of it stands a plain forwarder, which hands every octet on as it
is and has the library decode each PDU of ours once more: what it can't read counts as a decode error, and so does
a text that does not decode by its data coding, or a part without its siblings.

Standard output, one JSON object a line: first `{"listening": PORT}`; then, with --show, one for each text; last
the summary `{"texts", "parts", "pdus", "decode_errors", "reasons", "receipts"}`. It ends when N texts have come
and their receipts were answered, after S seconds, with --until-eof on a closed standard input, or on SIGTERM. Exit status 1: there
were decode errors, or fewer texts than N.
"""

import argparse
import asyncio
import json
import signal
import socket
import struct
import sys
import time

import smpp34

HEADER = 16
MAX_PDU = 65_536
NAMES = {  # command ids a client may send
    0x00000001, 0x00000002, 0x00000004, 0x00000006, 0x00000009, 0x00000015, 0x00000103,
    0x80000000, 0x80000005, 0x80000006, 0x80000015, 0x80000103,
}
GSM = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_EXTENSION = {0x0A: "\f", 0x14: "^", 0x28: "{", 0x29: "}", 0x2F: "\\", 0x3C: "[", 0x3D: "~", 0x3E: "]",
                 0x40: "|", 0x65: "€"}


class Tally:
    def __init__(self):
        self.pdus = self.texts = self.parts = self.receipts = 0
        self.reasons = {}

    def error(self, reason):
        self.reasons[reason] = self.reasons.get(reason, 0) + 1

    def summary(self):
        return {"texts": self.texts, "parts": self.parts, "pdus": self.pdus,
                "decode_errors": sum(self.reasons.values()), "reasons": self.reasons, "receipts": self.receipts}


def decode_gsm(octets):
    out, at = [], 0
    while at < len(octets):
        octet = octets[at]
        if octet == 0x1B:
            at += 1
            out.append(GSM_EXTENSION[octets[at]])
        else:
            out.append(GSM[octet])
        at += 1
    return "".join(out)


def decode_text(data_coding, octets):
    if data_coding == 0:
        return decode_gsm(octets)
    if data_coding == 8:
        return octets.decode("utf-16-be")
    raise ValueError(f"data_coding {data_coding}")


def check(pdu, tally):
    """Has the library read one PDU of the gateway's."""
    tally.pdus += 1
    command = struct.unpack(">I", pdu[4:8])[0]
    if command not in NAMES:
        return tally.error(f"command {command:#010x}")
    try:
        read = smpp34.decode(bytes(pdu))
    except Exception as error:  # whatever the library raises is a decode error
        return tally.error(f"command {command:#010x}: {type(error).__name__}")
    if command == 0x00000004:
        if not isinstance(read, smpp34.SubmitSm):
            return tally.error("submit_sm not read as one")
        if read.encode() != bytes(pdu):
            tally.error("submit_sm written back differs")
        if not read.validity_period or read.registered_delivery != 1:
            tally.error("submit_sm without validity or receipt")


async def forward(reader, writer, tally=None):
    """Hands octets on; with a tally, has every whole PDU decoded."""
    pending = bytearray()
    try:
        while octets := await reader.read(65_536):
            writer.write(octets)
            await writer.drain()
            if tally is None:
                continue
            pending += octets
            while len(pending) >= HEADER:
                length = struct.unpack(">I", pending[:4])[0]
                if not HEADER <= length <= MAX_PDU:
                    tally.error("command_length")
                    return
                if len(pending) < length:
                    break
                check(pending[:length], tally)
                del pending[:length]
        if pending and tally is not None:
            tally.error("half a PDU at the end")
    except (ConnectionError, asyncio.CancelledError):
        pass
    finally:
        writer.close()


class Texts:
    """Joins parts (TS 23.040, 9.2.3.24.1) and decodes."""

    def __init__(self, tally, show):
        self.tally, self.show, self.open = tally, show, {}

    def take(self, event):
        self.tally.parts += 1
        octets = bytes(event.short_message)
        if not event.esm_class & 0x40:
            return self.whole(event, octets)
        if octets[:3] != b"\x05\x00\x03" or not 1 <= octets[5] <= octets[4]:
            return self.tally.error("user data header")
        key = (event.destination_addr, event.source_addr, octets[3], octets[4])
        parts = self.open.setdefault(key, {})
        parts[octets[5]] = octets[6:]
        if len(parts) == octets[4]:
            del self.open[key]
            self.whole(event, b"".join(parts[n] for n in sorted(parts)))

    def whole(self, event, octets):
        try:
            text = decode_text(event.data_coding, octets)
        except Exception as error:
            return self.tally.error(f"text: {type(error).__name__}")
        self.tally.texts += 1
        if self.show:
            say({"to": event.destination_addr, "from": event.source_addr, "text": text})


def say(line):
    print(json.dumps(line), flush=True)


async def receipt(esme, event, message_id, tally):
    date = time.strftime("%y%m%d%H%M")
    text = (f"id:{message_id} sub:001 dlvrd:001 submit date:{date} done date:{date} stat:DELIVRD err:000 text:")
    answer = await esme.deliver_sm(
        source_addr=event.destination_addr, destination_addr=event.source_addr, source_addr_ton=1,
        source_addr_npi=1, esm_class=0x04, short_message=text.encode())
    if answer.is_success:
        tally.receipts += 1
    else:
        tally.error(f"receipt refused: {answer.command_status:#010x}")


async def serve(server, texts, tally, receipts, progress):
    esmes, tasks = {}, set()
    while True:
        event = await server.next()
        if isinstance(event, smpp34.Esme):
            esmes[event.session_id] = event
        elif isinstance(event, smpp34.SubmitSmEvent):
            message_id = f"{tally.parts + 1:08x}"
            texts.take(event)
            event.accept(message_id=message_id)
            esme = esmes.get(event.session_id)
            if receipts and esme is not None:
                task = asyncio.create_task(receipt(esme, event, message_id, tally))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                task.add_done_callback(lambda _: progress.set())
        elif isinstance(event, smpp34.Unbound):
            esmes.pop(event.session_id, None)
        progress.set()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def run(options):
    tally = Tally()
    texts = Texts(tally, options.show)
    progress, ended = asyncio.Event(), asyncio.Event()
    inner = free_port()
    server = smpp34.Server(host="127.0.0.1", port=inner, system_id="peer")
    await server.start()

    async def accept(reader, writer):
        to_server = await asyncio.open_connection("127.0.0.1", inner)
        try:
            await asyncio.gather(forward(reader, to_server[1], tally), forward(to_server[0], writer))
        except asyncio.CancelledError:
            pass  # the peer ends while connections are open

    front = await asyncio.start_server(accept, "127.0.0.1", options.port)
    say({"listening": front.sockets[0].getsockname()[1]})
    serving = asyncio.create_task(serve(server, texts, tally, not options.no_receipts, progress))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    if options.seconds:
        loop.call_later(options.seconds, ended.set)
    if options.until_eof:
        loop.add_reader(sys.stdin, lambda: None if sys.stdin.buffer.read1(4096) else ended.set())

    async def enough():
        while True:
            progress.clear()
            settled = options.no_receipts or tally.receipts >= tally.parts
            if options.texts and tally.texts >= options.texts and settled:
                return
            await progress.wait()

    waits = [asyncio.create_task(enough()), asyncio.create_task(ended.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    if texts.open:
        tally.error("parts without their siblings")
    for task in (*waits, serving):
        task.cancel()
    front.close()
    await server.stop()
    say(tally.summary())
    return 1 if tally.reasons or (options.texts and tally.texts < options.texts) else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="where to listen on 127.0.0.1; 0: a free port")
    parser.add_argument("--texts", type=int, default=0, help="end after so many texts")
    parser.add_argument("--seconds", type=float, default=0, help="end after so long")
    parser.add_argument("--show", action="store_true", help="print every text")
    parser.add_argument("--no-receipts", action="store_true")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input closes")
    sys.exit(asyncio.run(run(parser.parse_args())))


if __name__ == "__main__":
    main()
