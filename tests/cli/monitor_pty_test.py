#!/usr/bin/env python3
"""`--monitor` and `sluice demo warmup` in a terminal: the real program on the demo model behind a pseudo-terminal.

Usage: monitor_pty_test.py SLUICE [--show ROWS COLUMNS]

With --show it draws some pictures of a run as they come, for people to look at.
"""
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import termios
import time

from chat_pty_test import CTRL_C, PATIENCE, PROMPT, Failed, Terminal, expect, run_tests

ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"
LONG = ("Once upon a time", "--weights", "40%", "--ctx", "32768", "--ignore-eos", "--temp", "0.7", "--seed", "5")
INK = re.compile(r"\x1b\[[0-9;]*m")


def picture(terminal):
    """The rows of the screen as the last whole frame left them, without ink; None before the first one."""
    rows = {}
    seen = terminal.seen[terminal.seen.rfind(ENTER):]
    frames = re.findall(r"(?s)\x1b\[\?2026h(.*?)\x1b\[\?2026l", seen)
    for frame in frames:
        if frame.startswith("\x1b[2J"):
            rows = {}
        for row, line in re.findall(r"\x1b\[(\d+);1H(.*?)\x1b\[K", frame):
            rows[int(row)] = line
    return [INK.sub("", rows.get(i + 1, "")) for i in range(max(rows))] if rows else None


def wait_for_picture(terminal, condition, what):
    end = time.monotonic() + PATIENCE
    while True:
        rows = picture(terminal)
        if rows and condition(rows):
            return rows
        if time.monotonic() > end or terminal.ended(0) is not None:
            raise Failed(f"no picture {what}: {rows}")
        terminal.read(0.05)


def sane(terminal):
    flags = termios.ECHO | termios.ICANON
    return termios.tcgetattr(terminal.fd)[3] & flags == flags


def left(terminal):
    """What was printed after the screen was left, once the program has ended."""
    expect(terminal.seen.count(ENTER) == terminal.seen.count(LEAVE), "the screen was entered and not left")
    expect("\x1b[?25h" in terminal.seen[terminal.seen.rfind("\x1b[?25l"):], "the cursor is not shown again")
    expect(sane(terminal), "the terminal does not echo after the end")
    return terminal.seen[terminal.seen.rfind(LEAVE) + len(LEAVE):].replace("\r\n", "\n")


def test_pictures_and_the_same_text(start, sluice):
    arguments = (*LONG, "-n", "2500")
    terminal = start(*arguments, "--monitor", verb=("run", "demo"))
    rows = wait_for_picture(terminal, lambda rows: "writing token" in rows[0], "of a token")
    expect(len(rows) == 24, f"{len(rows)} rows on a terminal of 24")
    text = "\n".join(rows)
    for word in ("sluice", "qwen3_moe", "tok/s", "memory", "% of experts in memory", "hits", "hit rate", "GB/s", "stalls",
                 "last pass", "compute", "waits", "reads", "layer 0", "text", "Ctrl-C stops"):
        expect(word in text, f"{word!r} is not in the picture:\n{text}")
    first = int(re.search(r"writing token (\d+)", rows[0]).group(1))
    wait_for_picture(terminal, lambda rows: (m := re.search(r"writing token (\d+)", rows[0])) and int(m.group(1)) > first,
                     "of a later token")
    terminal.expect_end(0)
    plain = subprocess.run([sluice, "run", "demo", *arguments], capture_output=True, timeout=PATIENCE)
    printed = left(terminal)
    expect(printed.startswith(plain.stdout.decode()), f"another text with --monitor: {printed[:300]!r}")
    expect("tok/s" in printed[len(plain.stdout.decode()):], "no statistics after the text")


def test_follows_the_window(start, sluice):
    terminal = start(*LONG, "--monitor", verb=("run", "demo"))
    wait_for_picture(terminal, lambda rows: len(rows) == 24, "of 24 rows")
    terminal.resize(40, 120)
    rows = wait_for_picture(terminal, lambda rows: len(rows) == 40, "of 40 rows")
    expect(max(map(len, rows)) == 120, f"{max(map(len, rows))} columns on a terminal of 120")
    terminal.resize(20, 60)
    wait_for_picture(terminal, lambda rows: "needs 80 columns and 24 rows" in rows[0], "that says what it needs")
    terminal.resize(24, 80)
    wait_for_picture(terminal, lambda rows: len(rows) == 24 and "rates" in "".join(rows), "after that")
    terminal.send(CTRL_C)
    terminal.expect_end(130)
    expect(len(left(terminal)) > 100, "the text is not printed after Ctrl-C")


def test_stops_and_goes_on(start, sluice):
    terminal = start(*LONG, "--monitor", verb=("run", "demo"))
    wait_for_picture(terminal, lambda rows: "writing" in rows[0], "of a token")
    os.kill(terminal.pid, signal.SIGTSTP)
    end = time.monotonic() + PATIENCE
    while os.waitpid(terminal.pid, os.WNOHANG | os.WUNTRACED)[0] == 0:
        expect(time.monotonic() < end, "it does not stop")
        terminal.read(0.02)
    while terminal.read(0.1):
        pass
    expect(terminal.seen.endswith(LEAVE), f"stopped with a picture: {terminal.seen[-60:]!r}")
    os.kill(terminal.pid, signal.SIGCONT)
    wait_for_picture(terminal, lambda rows: terminal.seen.count(ENTER) == 2 and len(rows) == 24, "after going on")
    terminal.send(CTRL_C)
    terminal.expect_end(130)
    left(terminal)


def test_ends_clean(start, sluice):
    terminal = start(*LONG, "--monitor", verb=("run", "demo"))
    wait_for_picture(terminal, lambda rows: "writing" in rows[0], "of a token")
    os.kill(terminal.pid, signal.SIGTERM)
    terminal.expect_end(-signal.SIGTERM)
    left(terminal)
    # What is refused is refused before there is a screen.
    terminal = start("hi", "--ram", "1M", "--monitor", verb=("run", "demo"))
    terminal.expect_end(1)
    expect(ENTER not in terminal.seen and "is too small" in terminal.seen, f"{terminal.seen!r}")


def test_without_colour(start, sluice):
    terminal = start(*LONG, "-n", "1500", "--monitor", verb=("run", "demo"), NO_COLOR="1")
    wait_for_picture(terminal, lambda rows: "writing" in rows[0], "of a token")
    terminal.expect_end(0)
    expect("38;5" not in terminal.seen and "rates" in terminal.seen, "NO_COLOR, and there is colour")
    left(terminal)
    terminal = start(*LONG, "--monitor", verb=("run", "demo"), TERM="dumb")
    terminal.expect_end(1)
    expect("cannot be drawn on; --stats" in terminal.seen and ENTER not in terminal.seen, f"{terminal.seen!r}")


def test_chat(start, sluice):
    terminal = start("--monitor", "-n", "900", "--ctx", "4096", "--ignore-eos", "--weights", "40%", "--stats")
    terminal.wait(PROMPT)
    for n in (1, 2):
        terminal.send("Once upon a time\r")
        wait_for_picture(terminal, lambda rows: terminal.seen.count(ENTER) == n and "writing" in rows[0], "of a token")
        terminal.mark = len(terminal.seen)
        terminal.wait(PROMPT)
        printed = terminal.seen[terminal.seen.rfind(LEAVE):]
        expect(len(printed) > 1000 and "tok/s" in printed, f"the answer is not printed: {printed[:200]!r}")
    terminal.send("/bye\r")
    terminal.expect_end(0)


def test_warmup(start, sluice):
    terminal = start("-n", "64", "--pace", "50", verb=("demo", "warmup"))
    rows = wait_for_picture(terminal, lambda rows: "novel" in "".join(rows), "of the second topic")
    expect("╵coding" in "".join(rows), "the first topic is not marked:\n" + "\n".join(rows))
    terminal.expect_end(0)
    printed = left(terminal)
    for topic in ("coding", "novel", "maths"):
        expect(re.search(topic + r" +64 +\d+ % +\d+ % +\d+ +\d+ ", printed), f"no line of {topic}: {printed!r}")


def show(sluice, rows, columns):
    with tempfile.TemporaryDirectory() as home:
        for verb, arguments in ((("run", "demo"), (*LONG, "--monitor")), (("demo", "warmup"), ("--pace", "60"))):
            terminal = Terminal(sluice, pathlib.Path(home), *arguments, verb=verb, rows=rows, columns=columns)
            end = time.monotonic() + 6
            while time.monotonic() < end:
                terminal.read(0.05)
            seen = terminal.seen[terminal.seen.rfind(ENTER):]
            lines = {}
            for row, line in re.findall(r"\x1b\[(\d+);1H(.*?)\x1b\[K", seen):
                lines[int(row)] = line
            print("\n".join(lines.get(i + 1, "") for i in range(rows)))
            terminal.close()


def main():
    sluice = os.path.abspath(sys.argv[1])
    if "--show" in sys.argv:
        return show(sluice, int(sys.argv[3]), int(sys.argv[4]))
    return run_tests(globals(), sluice, lambda name, test, start, home: test(start, sluice), columns=80)


if __name__ == "__main__":
    sys.exit(main())
