"""Any payload is one code or one reason, its text is shown by neither, and any code can be judged at any time."""

from gate.credential import healthcode
from gate.credential.healthcode import HealthCode, UnusableCode, judge_code, read_code
from gate.credential.transit import SUISHENMA, TRANSPORT, transit_text
from gate.moment import Moment
from gate.sim.codes import FORMS, code_text
from tests.credential.shipped import HEX, NOW_S, with_all
from tests.fuzz.mutate import altered

REACHES = healthcode
_NOW = Moment(NOW_S, 0.0)


class _AnyKey:
    """Takes a signature whose first byte is even: a fuzzer cannot sign, and both answers are to be reached."""

    def verifies(self, signature: bytes, message: bytes) -> bool:
        return signature[0] % 2 == 0


_KEYS = {(SUISHENMA, 1): _AnyKey(), (TRANSPORT, 2): _AnyKey()}
_BODY = bytearray(211)
_BODY[64:96] = HEX.encode()
_BODY[96], _BODY[114], _BODY[125], _BODY[137] = 0x40, 1, 0x80, 2
_BODY[100:114] = b"20200401000000"
_BODY[131:137] = b"\0\x3c" + int(NOW_S).to_bytes(4, "big")
_TRANSIT = f"https://s.sh.gov.cn{transit_text(bytes(_BODY))}"
_CODES = [
    *(code_text(form, HEX, NOW_S).encode() for form in FORMS if form != "SSM_TRANSIT"),
    _TRANSIT.encode(),
    f"https://akm.ahzwfw.gov.cn/akm-sj-mgr/index.html#/myAkm?isScan=1&id=akm:qrcode:{HEX}&cityNo=340000".encode(),
    b"http://s.sh.gov.cn.evil/",
]


def fuzz(data: bytes) -> None:
    issuers = with_all()
    wide = "\ufdfa".encode() * (len(data) * 8)
    for encoding in ("utf-8", "gb18030"):
        for payload in (
            data,
            *_begun(data),
            altered(_CODES, data),
            altered([_TRANSIT.encode()], data),
            wide,
            data * 700,
        ):
            read = read_code(payload, issuers, encoding)
            assert isinstance(read, HealthCode | UnusableCode)
            if isinstance(read, HealthCode):
                assert read.token not in repr(read)
                assert read.text not in repr(read)
                _judge(read, data)


def _begun(data: bytes) -> tuple[bytes, ...]:
    return (_CODES[0][:20] + data, _CODES[2][:52] + data)


def _judge(code: HealthCode, data: bytes) -> None:
    """Neither seal nor time raises anything, and nothing dynamic is good by a clock that is not trusted."""
    later = _NOW.plus(float(int.from_bytes(data[:3], "big") % 256 - 128))
    judge_code(code, _KEYS, later, clock_trusted=True)
    assert (judge_code(code, _KEYS, later, clock_trusted=False) is None) == (not code.dynamic)
