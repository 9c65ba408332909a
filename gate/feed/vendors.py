"""What each vendor's status value means: a table per enumeration of health-codes.md 1.3; raw values are never compared.

Values count in exactly the type and text in which the vendor's own interface gives them: the text "10" is red and the
number 10 is nothing, 1 is red from Dahua, green from JuLong and nothing from Anhui, who sends the text "1". Whatever a
table does not hold is UNKNOWN, never a colour: no case folding, no stripping, no number read out of a text. Codecs hand
over what they decoded and nothing that they derived.
"""

import enum
from collections.abc import Mapping

from gate.feed.records import CredentialStatus as Status


class Vendor(enum.StrEnum):
    """Whose enumeration a value comes from."""

    CROSS_SYSTEM = "CROSS_SYSTEM"
    ZHEJIANG_JIANGSU = "ZHEJIANG_JIANGSU"
    ALIPAY = "ALIPAY"
    ANHUI = "ANHUI"
    JULONG = "JULONG"
    DAHUA = "DAHUA"
    ALIBABA_CLOUD_IOT = "ALIBABA_CLOUD_IOT"
    WECOM = "WECOM"
    UNIVERSITY_MODEL = "UNIVERSITY_MODEL"
    HUAWEI_OCR = "HUAWEI_OCR"


# Hubei's `healthyStaus` (sic), Shanghai's `data.type`, Guangdong's `risk_assessment_grade`, ACS terminals' `status[4]`.
# Hubei's page takes anything else for high risk; we do not.
_CROSS_SYSTEM: Mapping[str, Status] = {
    "00": Status.GREEN,
    "01": Status.YELLOW,
    "10": Status.RED,  # one firmware's atoi made it ten, and played the red voice for yellow
}

# Zhejiang's and Jiangsu's `level`, Zhejiang's `qrColor`.
_ZHEJIANG_JIANGSU: Mapping[str, Status] = {
    "green": Status.GREEN,
    "yellow": Status.YELLOW,
    "red": Status.RED,
}

# `code_color` of alipay.ebpp.industry.gov.healthcode.verify (AlipayEbppIndustryGovHealthcodeVerifyResponse.cs).
_ALIPAY: Mapping[str, Status] = {
    "green": Status.GREEN,
    "yellow": Status.YELLOW,
    "red": Status.RED,
    "init": Status.IN_REVIEW,
}

# `healthLevel`, compared as text by the Hikvision integration (GHfile#13718027678); a registration page of Hefei shows
# a blank one as "being issued" (GHfile#9988408510). Its grey and its "not claimed" (GHfile#13592329009) have no value.
_ANHUI: Mapping[str, Status] = {
    "1": Status.GREEN,
    "2": Status.YELLOW,
    "3": Status.RED,
    "": Status.IN_REVIEW,
}

# HealthCodeType.php of lzh06550107/device-sdk. "None" may be a lost answer as well as a code never claimed.
_JULONG: Mapping[int, Status] = {
    0: Status.UNKNOWN,
    1: Status.GREEN,
    2: Status.YELLOW,
    3: Status.RED,
}

# EM_HEALTH_CODE_STATUS of the Dahua SDK, in its own order: 1 is RED. "Invalid" does not say that a green one lapsed.
_DAHUA: Mapping[int, Status] = {
    0: Status.UNKNOWN,
    1: Status.RED,
    2: Status.GREEN,
    3: Status.YELLOW,
    4: Status.UNKNOWN,
}

# `healthStatus` (Integer) of the data model HealthCodeVerifyRecord 1.0.
_ALIBABA_CLOUD_IOT: Mapping[int, Status] = {
    1: Status.GREEN,
    2: Status.YELLOW,
    3: Status.RED,
    4: Status.GREY,  # expired: whatever it was, it lapsed
    5: Status.NOT_CLAIMED,  # does not exist
    6: Status.UNKNOWN,  # verification failed: says nothing of the passenger
    7: Status.UNKNOWN,  # verification timed out: the same
}

# developer.work.weixin.qq.com/document/path/93993. "Abnormal" is yellow or red, and which is not said: staff ask.
_WECOM: Mapping[int, Status] = {
    0: Status.GREEN,
    1: Status.UNKNOWN,
    2: Status.UNKNOWN,
}

# `status` (int) of org.software.code, a university's teaching model that is met in demonstrations.
_UNIVERSITY_MODEL: Mapping[int, Status] = {
    0: Status.RED,
    1: Status.YELLOW,
    2: Status.GREEN,
}

# Colours that Huawei's OCR reads off a screen, grey among them. Empty on purpose: a picture proves nothing (R5).
_HUAWEI_OCR: Mapping[str, Status] = {}

TABLES: Mapping[Vendor, tuple[type, Mapping[str, Status] | Mapping[int, Status]]] = {
    Vendor.CROSS_SYSTEM: (str, _CROSS_SYSTEM),
    Vendor.ZHEJIANG_JIANGSU: (str, _ZHEJIANG_JIANGSU),
    Vendor.ALIPAY: (str, _ALIPAY),
    Vendor.ANHUI: (str, _ANHUI),
    Vendor.JULONG: (int, _JULONG),
    Vendor.DAHUA: (int, _DAHUA),
    Vendor.ALIBABA_CLOUD_IOT: (int, _ALIBABA_CLOUD_IOT),
    Vendor.WECOM: (int, _WECOM),
    Vendor.UNIVERSITY_MODEL: (int, _UNIVERSITY_MODEL),
    Vendor.HUAWEI_OCR: (str, _HUAWEI_OCR),
}

_GRADES: Mapping[Status, str] = {status: text for text, status in _CROSS_SYSTEM.items()}


def status_of(vendor: Vendor, value: object) -> Status:
    """What `value` means when `vendor` says it; UNKNOWN unless its table holds this very type and text."""
    kind, table = TABLES[vendor]
    if type(value) is not kind:  # isinstance would let True pass for 1
        return Status.UNKNOWN
    return table.get(value, Status.UNKNOWN)  # type: ignore[call-overload, no-any-return]


def grade(status: Status) -> str:
    """The cross-system `risk_assessment_grade`: "00", "01" or "10"; empty for everything that is no colour."""
    return _GRADES.get(status, "")
