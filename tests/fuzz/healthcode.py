"""Any payload is one code or one reason, and its text is shown by neither."""

import base64

from gate.credential import healthcode
from gate.credential.healthcode import HealthCode, UnusableCode, read_code
from tests.fuzz.mutate import altered

REACHES = healthcode
_HEX = "0123456789abcdef0123456789ABCDEF"
_DINGTALK = "https://h5.dingtalk.com/healthAct/index.html?qrCode="
_BODY = base64.urlsafe_b64encode(bytes(range(211))).decode()
_CODES = [
    text.encode()
    for text in (
        f"https://s.sh.gov.cn/{_HEX[:30]}1585000000000",
        f"https://s.sh.gov.cn/{len(_BODY):04d}{_BODY}##",
        f"{_DINGTALK}V2{_HEX}#/result",
        f"{_DINGTALK}V0ding{_HEX}&stateCouncilBarCode={_HEX}#/result",
        f"{_DINGTALK}V5{_HEX}320000&b={_HEX}{_HEX}#/result",
        f"https://akm.ahzwfw.gov.cn/akm-sj-mgr/index.html#/myAkm?isScan=1&id=akm:qrcode:{_HEX}&cityNo=340000",
        base64.b64encode(bytes.fromhex("0018FE01") + bytes(196)).decode(),
        "http://s.sh.gov.cn.evil/",
    )
]


def fuzz(data: bytes) -> None:
    for encoding in ("utf-8", "gb18030"):
        for payload in (data, _CODES[0][:20] + data, _CODES[2][:52] + data, altered(_CODES, data), data * 700):
            read = read_code(payload, encoding)
            assert isinstance(read, HealthCode | UnusableCode)
            if isinstance(read, HealthCode):
                assert read.token not in repr(read)
                assert b"gov.cn" in payload.lower() or b"dingtalk.com" in payload.lower() or not payload.isascii()
