"""Any payload is one code or one reason, and its text is shown by neither."""

from gate.credential.healthcode import HealthCode, UnusableCode, read_code


def fuzz(data: bytes) -> None:
    for encoding in ("utf-8", "gb18030"):
        for payload in (data, b"https://s.sh.gov.cn/" + data, b"https://h5.dingtalk.com/healthAct/index.html?" + data):
            read = read_code(payload, encoding)
            assert isinstance(read, HealthCode | UnusableCode)
            if isinstance(read, HealthCode):
                assert read.token not in repr(read)
                assert b"gov.cn" in payload.lower() or b"dingtalk.com" in payload.lower() or not payload.isascii()
