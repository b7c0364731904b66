"""A gateway's account at the broker that somebody else uses (账号被占用). Names and words only."""

from __future__ import annotations

ACCOUNT_TAKEN = "account_taken"
"""The hazard of an incident about it. No feed may name it, and no playbook may answer it."""
LEVEL_TAKEN = 1


def headline(account: str, said: bool) -> tuple[str, str]:
    """What people read, English and Chinese, without a full stop; `said` is whether the broker itself named it."""
    if not said:
        return (
            f"The broker ends the connection of the gateway's account {account} again and again, and lets it in again: "
            "most likely somebody else uses it",
            f"消息代理反复断开网关账号{account}又允许其重连：很可能有人正在使用该账号",
        )
    return (
        f"Somebody else has connected to the broker with the gateway's account {account}, and so holds its secret",
        f"有人用网关账号{account}连接消息代理，其密钥可能已泄露",
    )


WHAT_TO_DO = (
    "It can put manifests on air that a stolen key has signed, and keep ours off it. Switch the other program off if "
    "it is yours; otherwise give the gateways new secrets, and look at what is unknown on air (/api/streams).",
    "对方可借此发布盗用密钥签名的清单，并阻断本系统的播发。若为本单位程序请立即停用；否则请更换网关密钥，"
    "并查看正在播出的未知内容（/api/streams）。",
)
