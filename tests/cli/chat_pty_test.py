#!/usr/bin/env python3
"""`sluice chat` in a terminal: the real program on the demo model behind a pseudo-terminal, driven by keys.

Usage: chat_pty_test.py SLUICE

Needs nothing but Linux. What the terminal was sent is printed where a check fails.
"""
import codecs
import contextlib
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

ESCAPES = re.compile(r"(\r(?=\x1b\[))?\x1b(\[[0-9;?]*[A-Za-z]|[78DM])")
STATUS_LINE = re.compile(r"\x1b7\x1b\[\d+;1H\x1b\[2K\x1b\[2m.*?\x1b8")
PATIENCE = 40  # seconds: a loaded machine under a sanitizer is slow
UP, DOWN, CTRL_C, CTRL_D, CTRL_L = b"\x1b[A", b"\x1b[B", b"\x03", b"\x04", b"\x0c"
PROMPT = r">>> $"


class Failed(Exception):
    pass


class Terminal:
    """The program and its terminal. `seen` is all output so far, `mark` where the next search begins."""

    def __init__(self, sluice, home, *arguments, verb=("chat", "demo"), rows=24, columns=100, **environment):
        self.seen, self.mark = "", 0
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")  # reads cut characters
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            env = {**os.environ, "HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "TERM": "xterm-256color"}
            env.pop("NO_COLOR", None)
            try:
                os.execve(sluice, [sluice, *verb, *arguments], {**env, **environment})
            finally:
                os._exit(127)
        self.resize(rows, columns)

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds):
        """Whether anything came."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # the other side has closed
            return False
        self.seen += self.decoder.decode(data)
        return bool(data)

    def screen(self):
        """What came since the mark, without escape sequences and status line. A line that is drawn anew comes again."""
        return ESCAPES.sub("", STATUS_LINE.sub("", self.seen[self.mark:])).replace("\r\n", "\n").replace("\r", "")

    def wait(self, pattern, raw=False):
        """Waits until what came since the mark matches and returns the match. The mark is then behind it, or behind
        all that has come where that is read without escape sequences."""
        end = time.monotonic() + PATIENCE
        while True:
            text = self.seen[self.mark:] if raw else self.screen()
            if match := re.search(pattern, text):
                self.mark = self.mark + match.end() if raw else len(self.seen)
                return match
            if time.monotonic() > end:
                raise Failed(f"waited for {pattern!r}, saw {self.seen[self.mark:][-1500:]!r}")
            if not self.read(0.1) and self.ended(0):
                raise Failed(f"the program ended while {pattern!r} was waited for; saw {self.seen[self.mark:][-1500:]!r}")

    def send(self, keys):
        os.write(self.fd, keys if isinstance(keys, bytes) else keys.encode())

    def say(self, line):
        """Sends a line and returns what was printed between it and the next prompt."""
        self.send(line + "\r")
        printed = self.wait(r"(?s)\n(.*)" + PROMPT).group(1)
        return printed

    def ended(self, seconds):
        """Waits that long for the end; the exit status, or None."""
        end = time.monotonic() + seconds
        while self.pid:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.pid, self.status = 0, os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                return None
            else:
                self.read(0.05)
        return self.status

    def expect_end(self, status):
        if (got := self.ended(PATIENCE)) != status:
            raise Failed(f"exit status {got}, {status} expected; saw {self.seen[self.mark:][-1500:]!r}")

    def close(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


def expect(condition, what):
    if not condition:
        raise Failed(what)


def test_answers_and_commands(start, home):
    terminal = start("-n", "12", "--temp", "0")
    terminal.wait(PROMPT)
    answer = terminal.say("Once upon a time")
    expect(len(answer.strip()) > 10, f"no answer: {answer!r}")
    for word in ("/set", "/stats", "/save", "/load", "/clear", "/bye", "Ctrl-C", '"""'):
        expect(word in terminal.say("/help"), f"/help does not speak of {word}")
    expect(re.search(r"\d tok/s .*peak memory \d", terminal.say("/stats")), "/stats has no speed and memory")

    terminal.say("/set temperature 0.8")
    terminal.say("/set seed 11")
    terminal.say("/set n 40")
    settings = terminal.say("/set")
    for line in ("  temp 0.8\n", "  seed 11\n", "  n 40\n"):
        expect(line in settings, f"{line.strip()!r} is not in {settings!r}")
    texts = []
    for seed in ("11", "11", "12"):
        terminal.say("/set seed " + seed)
        expect(terminal.say("/clear") == "forgotten\n", "/clear says nothing")
        texts.append(terminal.say("Tom had a"))
    expect(texts[0] == texts[1], f"one seed, two answers: {texts[0]!r} and {texts[1]!r}")
    expect(texts[0] != texts[2], f"two seeds, one answer: {texts[0]!r}")

    for line, error in (("/frob", "there is no command /frob; /help lists them"),
                        ("/set temp abc", "/set temp wants a number, not 'abc'"),
                        ("/set top-p 7", "top-p"), ("/set nothing 1", "nothing called nothing can be set"),
                        ("/set seed x", "write a whole number or random"),
                        ("/save ", "give the conversation a name"), ("/load", "give the conversation a name"),
                        ("/load never-kept", "No such file"), ("/load /", "directory"),
                        ("/save /dev/null/x", "/dev/null/x")):
        printed = terminal.say(line)
        expect(error in printed and printed.startswith("sluice: ") and printed.count("\n") == 1,
               f"{line}: one line with {error!r} expected, not {printed!r}")
    terminal.send("/bye\r")
    terminal.expect_end(0)


def test_keeps_conversations(start, home):
    terminal = start("-n", "12", "--temp", "0")
    terminal.wait(PROMPT)
    first = terminal.say("Once upon a time")
    path = home / "talk.json"
    expect(str(path) in terminal.say(f"/save {path}"), "/save does not say where")
    second = terminal.say("The dog")
    terminal.say("/save by name")
    kept = json.loads(path.read_text())
    expect([m["role"] for m in kept["messages"]] == ["user", "assistant"], f"kept {kept}")
    expect(kept["messages"][0]["content"] == "Once upon a time", f"kept {kept}")
    expect(kept["messages"][1]["content"] == first[:-1], f"kept {kept}, the answer was {first!r}")
    terminal.say("/clear")
    expect(terminal.say("The dog") != second, "/clear leaves the conversation as it was")
    expect(terminal.say(f"/load {path}") == ">>> Once upon a time\n" + first, "/load does not show what was said")
    expect(terminal.say("The dog") == second, "a loaded conversation goes on differently")
    terminal.send(CTRL_D)
    terminal.expect_end(0)

    terminal = start("-n", "12", "--temp", "0")  # another run finds it by name
    terminal.wait(PROMPT)
    expect(terminal.say("/load by name").endswith(second), "what was kept by name is not what was said")


def test_lines_and_history(start, home):
    terminal = start("-n", "2", "--temp", "0")
    terminal.wait(PROMPT)
    terminal.send(b"\x1b[200~first\rsecond\x1b[201~")
    terminal.wait(r">>> first\n\.\.\. second$")
    expect("\n" in terminal.say("!"), "no answer to a paste")
    terminal.say("later")
    terminal.send(UP + UP)
    terminal.wait(r">>> first\n\.\.\. second!$")
    terminal.send(DOWN)
    terminal.wait(r">>> later$")
    terminal.send(CTRL_C)
    terminal.wait(r"\^C\n>>> $")
    terminal.send('"""one\r')
    terminal.wait(r"\n\.\.\. $")
    terminal.say('two"""')
    path = home / "lines.json"
    terminal.say(f"/save {path}")
    said = [m["content"] for m in json.loads(path.read_text())["messages"] if m["role"] == "user"]
    expect(said == ["first\nsecond!", "later", "one\ntwo"], f"the model was told {said}")

    # A text taller than the screen: only what fits is drawn, and each key draws it in place.
    terminal.send(b"\x1b[200~" + b"\r".join(b"row%d" % i for i in range(60)) + b"\x1b[201~")
    terminal.wait(r"\.\.\. row59$")
    terminal.send("x")
    drawn = terminal.wait(r"(?s).*\.\.\. row59x$").group()
    expect("row36\n" in drawn and "row35\n" not in drawn, f"more than the screen was drawn: {drawn!r}")
    terminal.send(CTRL_C)
    terminal.wait(PROMPT)
    terminal.send(CTRL_D)
    terminal.expect_end(0)

    terminal = start("-n", "2")  # history outlives the program
    terminal.wait(PROMPT)
    terminal.send(UP + UP)
    terminal.wait(r">>> one\n\.\.\. two$")


def test_stops(start, home):
    slow = ["--ctx", "32768", "--ignore-eos", "--temp", "0.7"]  # would talk for a long time
    terminal = start(*slow)
    terminal.wait(PROMPT)
    terminal.send(CTRL_C)
    terminal.wait(r"\^C\n>>> $")
    for _ in range(2):  # one interrupt stops one answer
        terminal.send("Once upon a time\r")
        terminal.wait(r"\n.*\w+ \w+ \w+")
        terminal.send("typed ahead")  # not shown in the answer
        time.sleep(0.3)
        terminal.send(CTRL_C)
        shown = terminal.wait(r"(?s).*" + PROMPT).group()
        expect("typed ahead" not in shown and "^C" not in shown, f"keys are shown in the answer: {shown!r}")
    expect("tok/s" in terminal.say("/stats"), "chat does not go on after Ctrl-C")
    terminal.say("/clear")
    terminal.say("/set n 1000")
    terminal.send("Once upon a time\r")
    terminal.wait(r"\n.*\w+ \w+ \w+")
    terminal.send("/help\r")  # waits for the prompt
    terminal.wait(r"(?s)>>> /help\n.*/bye.*" + PROMPT)
    terminal.send("/set n 5\r")
    terminal.wait(PROMPT)
    terminal.send("/clear\r")
    terminal.wait(PROMPT)
    terminal.send("Once upon a time\r")
    terminal.wait(r"(?s)\n.*\n>>> $")
    terminal.send(CTRL_D)
    terminal.expect_end(0)

    terminal = start(*slow, "Once upon a time")  # an answer to the first message stops the same way
    terminal.wait(r"\w+ \w+ \w+ \w+ \w+ \w+ \w+")
    terminal.wait(r"\w+ \w+ \w+")
    terminal.send(CTRL_C)
    terminal.wait(PROMPT)
    terminal.say("/set n 8")
    expect(len(terminal.say("The dog").strip()) > 3, "after Ctrl-C the next answer is empty")
    terminal.send(CTRL_D)
    terminal.expect_end(0)


def test_status_line(start, home):
    terminal = start("--ctx", "32768", "--ignore-eos", "--temp", "0.7", "--weights", "min")
    terminal.wait(PROMPT)
    terminal.send("Once upon a time\r")
    status = (r"\x1b\[(\d+);1H\x1b\[2K\x1b\[2m(\d+\.\d) tok/s · (\d+) % hits · (?:SSD|read) (\d+\.\d\d) GB/s "
              r"· (\d+) % stalls · (\d+(?:\.\d+)?) [KMG]iB resident · (\d+)/32768 tokens\x1b\[0m")
    terminal.wait(r"\x1b\[1;23r", raw=True)  # the last of 24 rows does not scroll
    terminal.wait(status, raw=True)
    numbers = terminal.wait(status, raw=True).groups()
    expect(numbers[0] == "24", f"the line is in row {numbers[0]}")
    for name, value in zip(("tokens/s", "GB/s", "resident", "tokens"), (numbers[1], numbers[3], *numbers[5:])):
        expect(float(value) > 0, f"{name} is {value}")
    later = terminal.wait(status, raw=True).groups()
    expect(int(later[6]) > int(numbers[6]), f"the line stands still: {numbers} and {later}")
    terminal.resize(30, 60)
    terminal.wait(r"\x1b\[1;29r", raw=True)
    line = terminal.wait(r"\x1b\[30;1H\x1b\[2K\x1b\[2m(.*?)\x1b\[0m", raw=True).group(1)
    expect(len(line) < 60, f"{line!r} is wider than the terminal")
    terminal.send(CTRL_C)
    terminal.wait(r"\x1b\[2K\x1b\[r", raw=True)  # cleared, and everything scrolls again
    terminal.wait(PROMPT)

    plain = start("-n", "60", "--ignore-eos", NO_COLOR="1")
    plain.wait(PROMPT)
    plain.send("Once upon a time\r")
    plain.wait(PROMPT)
    expect("tok/s" not in plain.seen and "r\x1b8" not in plain.seen, "NO_COLOR, and there is a status line")


def test_second_interrupt(start, home):
    """A second interrupt before the first has had its effect ends the program, and the terminal is as it was."""
    terminal = start("--ctx", "32768", "--ignore-eos", "--temp", "0.7")
    def echoes():
        return termios.tcgetattr(terminal.fd)[3] & (termios.ECHO | termios.ICANON) == termios.ECHO | termios.ICANON

    terminal.wait(PROMPT)
    terminal.send("Once upon a time\r")
    terminal.wait(r"\n.*\w+ \w+ \w+")
    expect(not echoes(), "the terminal echoes during an answer")
    end = time.monotonic() + PATIENCE
    while terminal.ended(0) is None and time.monotonic() < end:
        with contextlib.suppress(ProcessLookupError):
            os.kill(terminal.pid, signal.SIGINT)  # not a key: two that come at the prompt end it as well
    expect(terminal.ended(0) == 130, f"exit status {terminal.ended(0)} after interrupts")
    expect(echoes(), "the terminal does not echo after the end")


def plain(sluice, home, text, *arguments):
    return subprocess.run([sluice, "chat", "demo", "-n", "8", "--temp", "0", *arguments], input=text.encode(),
                          capture_output=True, env={**os.environ, "HOME": str(home)}, timeout=PATIENCE)


def test_without_a_terminal(sluice, home):
    done = plain(sluice, home, 'Once upon a time\n/stats\n/frob\n"""one\ntwo"""\n')
    out, err = done.stdout.decode(), done.stderr.decode()
    expect(done.returncode == 0, f"exit status {done.returncode}")
    expect("\x1b" not in out + err and ">>>" not in out, f"terminal things in a pipe: {out!r}")
    expect(len(out.splitlines()) >= 4 and "tok/s" in out, f"answers and numbers expected, not {out!r}")
    expect(err.count("\n") == 1 and "there is no command /frob" in err, f"one line of error expected, not {err!r}")
    expect("/home" not in out, out)
    done = plain(sluice, home, '"""one\ntwo\n')
    expect(done.returncode == 1 and b"ended inside a message" in done.stderr, f"{done}")
    expect(plain(sluice, home, "").returncode == 0, "an empty input is no reason to fail")
    expect(plain(sluice, home, "/bye\nnot reached\n").stdout == b"", "/bye does not leave")


def run_tests(names, sluice, run, **defaults):
    """Each test_* of a module's names by run(name, test, start, home); start() makes a Terminal. Returns the status."""
    failures = 0
    for name, test in [(n, f) for n, f in names.items() if n.startswith("test_")]:
        terminals = []
        with tempfile.TemporaryDirectory() as folder:
            home = pathlib.Path(folder)

            def start(*arguments, **options):
                terminals.append(Terminal(sluice, home, *arguments, **{**defaults, **options}))
                return terminals[-1]

            begin = time.monotonic()
            try:
                run(name, test, start, home)
                print(f"{name}: passed in {time.monotonic() - begin:.1f} s", flush=True)
            except Failed as failure:
                print(f"{name}: FAILED: {failure}", flush=True)
                failures += 1
            finally:
                for terminal in terminals:
                    terminal.close()
    return 1 if failures else 0


def main():
    sluice = os.path.abspath(sys.argv[1])
    return run_tests(globals(), sluice, lambda name, test, start, home:
                     test(sluice if name == "test_without_a_terminal" else start, home))


if __name__ == "__main__":
    sys.exit(main())
