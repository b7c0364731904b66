from __future__ import annotations

from services.dispatcher.domain.broadcasts import Broadcast, Release
from services.dispatcher.domain.signals import Use
from services.dispatcher.engine import people
from services.dispatcher.engine.cities import import_city
from services.dispatcher.engine.events import AudioRendered, EffectGaveUp
from services.dispatcher.engine.people import Role
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import Asset, ReceiptRow
from tests import builders
from tests.builders import NOON_US
from tests.web.api import Api, refusal


def test_a_draft_shows_what_people_confirm_word_for_word(api: Api) -> None:
    page = api.storm()
    assert page["broadcast"]["state"] == "draft"
    assert page["broadcast"]["sentences"] == {
        "zh": "【实警】向区划02001、区划02002的3个终端播发暴雨红色警报（尚未核实）。",
        "en": "ACTUAL: broadcast the red rainstorm alert to 3 speakers in 区划02001、区划02002 (not yet verified).",
    }
    assert page["coverage"] == {
        "targeted": 3,
        "in_service": 3,
        "online": 0,
        "playing": 0,
        "proved": 0,
        "finished": 0,
        "refused": 0,
        "failed": 0,
        "out_of_service": 0,
        "after_stop": 0,
    }
    assert (page["correction"]["phase"], page["all_clear"]["phase"]) == ("correction", "all_clear")


def test_a_broadcast_says_in_which_languages_speakers_say_it_themselves(api: Api) -> None:
    shown = api.storm()["broadcast"]
    assert shown["said_by_speakers"] == ["en", "zh"]
    wordings = api.town.get(Broadcast, shown["id"]).wordings
    api.town.engine.handle([AudioRendered(Asset(wordings["zh"], "zh", "opus", "0" * 64, 1, 1, True))])
    assert api.page(shown["id"])["broadcast"]["said_by_speakers"] == ["en"]
    api.town.engine.handle([AudioRendered(Asset(wordings["en"], "en", "opus", "1" * 64, 1, 1, True))])
    assert api.page(shown["id"])["broadcast"]["said_by_speakers"] == []


def test_what_was_given_up_stands_in_the_log_of_the_incident(api: Api) -> None:
    shown = api.storm()["broadcast"]
    wording = api.town.get(Broadcast, shown["id"]).wordings["zh"]
    api.town.engine.handle([EffectGaveUp(f"render_audio:{wording}", "the queue is away", again=True)])
    log = api.get("duty", f"/api/incidents/{shown['incident']}").json()["log"]
    assert [(line["kind"], line["subject"]) for line in log if line["kind"] == "broadcast.not_rendered"] == [
        ("broadcast.not_rendered", shown["id"])
    ]


def test_a_red_order_needs_two_people_and_then_is_on_air(api: Api) -> None:
    b = api.storm()["broadcast"]
    first = api.release("duty", b)
    assert first.status_code == 200
    assert (first.json()["broadcast"]["state"], first.json()["broadcast"]["released_by"]) == ("draft", ["duty"])
    second = api.release("chief", b)
    assert (second.json()["broadcast"]["state"], second.json()["broadcast"]["released_by"]) == (
        "on_air",
        ["duty", "chief"],
    )
    assert [(r["act"], r["person"]) for r in second.json()["releases"]] == [("release", "duty"), ("release", "chief")]


def test_the_same_person_twice_is_not_two_people(api: Api) -> None:
    b = api.storm()["broadcast"]
    api.release("chief", b)
    assert refusal(api.release("chief", b)) == (409, "same_person")
    assert api.page(b["id"])["broadcast"]["state"] == "draft"


def test_two_duty_officers_without_an_approver_are_not_enough(api: Api) -> None:
    b = api.storm()["broadcast"]
    api.release("duty", b)
    assert refusal(api.release("second", b)) == (409, "approver_missing")
    assert api.release("chief", b).json()["broadcast"]["state"] == "on_air"


def test_a_yellow_order_needs_one_person(api: Api) -> None:
    b = api.fire()["broadcast"]
    assert api.release("duty", b).json()["broadcast"]["state"] == "on_air"


def test_an_administrator_and_an_office_may_not_release(api: Api) -> None:
    b = api.fire()["broadcast"]
    for who in ("admin", "centre"):
        assert refusal(api.release(who, b)) == (403, "not_allowed")


def test_content_that_changed_since_it_was_read_is_not_released(api: Api) -> None:
    b = api.fire()["broadcast"]
    api.town.signal(builders.fire_signal("panel/mall/2", device="smoke-2"))
    assert refusal(api.release("duty", b)) == (409, "content_changed")


def test_a_sentence_that_is_not_the_orders_own_is_refused(api: Api) -> None:
    b = api.fire()["broadcast"]
    assert refusal(api.release("duty", b, sentence="播发")) == (409, "sentence_differs")


def test_the_english_sentence_is_as_good_as_the_chinese(api: Api) -> None:
    b = api.fire()["broadcast"]
    assert api.release("duty", b, sentence=b["sentences"]["en"]).json()["broadcast"]["state"] == "on_air"


def test_a_refused_release_leaves_no_release_row(api: Api) -> None:
    b = api.fire()["broadcast"]
    api.release("duty", b, sentence="播发")
    with api.town.store.read() as read:
        assert read.find(Release, Page(), broadcast=b["id"]) == []


def test_a_plan_made_for_another_city_is_made_again_and_read_again(api: Api) -> None:
    b = api.storm()["broadcast"]
    with api.town.store.write() as tx:
        added = builders.speaker("mall-2", builders.venue(builders.MALL, builders.OTHER_STREET))
        rows = [*builders.city_rows(), added]
        import_city(tx, builders.city_settings(), rows, "test")
    assert refusal(api.release("duty", b)) == (409, "plan_out_of_date")
    again = api.page(b["id"])["broadcast"]
    assert again["speakers"] == 4
    assert api.release("duty", again).status_code == 200


def test_declining_is_recorded_with_person_and_reason(api: Api) -> None:
    b = api.fire()["broadcast"]
    declined = api.post("duty", f"/api/broadcasts/{b['id']}/decline", {"why": "误报"}).json()
    assert declined["broadcast"]["state"] == "declined"
    assert [(r["act"], r["person"], r["why"]) for r in declined["releases"]] == [("decline", "duty", "误报")]
    assert refusal(api.release("duty", b)) == (409, "wrong_state")


def test_stopping_needs_a_reason(api: Api) -> None:
    b = api.fire()["broadcast"]
    api.release("duty", b)
    assert refusal(api.post("duty", f"/api/broadcasts/{b['id']}/stop", {"why": "  "})) == (422, "malformed")


def test_who_stopped_an_order_may_resume_it_within_a_minute(api: Api) -> None:
    b = api.fire()["broadcast"]
    api.release("duty", b)
    stopped = api.post("duty", f"/api/broadcasts/{b['id']}/stop", {"why": "看错"}).json()["broadcast"]
    assert (stopped["state"], stopped["stopped_by"], stopped["stopped_us"]) == ("stopped", "duty", NOON_US)
    assert refusal(api.post("chief", f"/api/broadcasts/{b['id']}/resume")) == (409, "resume_too_late")
    assert api.post("duty", f"/api/broadcasts/{b['id']}/resume").json()["broadcast"]["state"] == "on_air"


def test_after_a_minute_nobody_resumes(api: Api) -> None:
    b = api.fire()["broadcast"]
    api.release("duty", b)
    api.post("duty", f"/api/broadcasts/{b['id']}/stop", {"why": "看错"})
    api.town.clock.advance(61)
    assert refusal(api.post("duty", f"/api/broadcasts/{b['id']}/resume")) == (409, "resume_too_late")


def test_one_person_corrects_a_red_alert_that_two_released(api: Api) -> None:
    page = api.storm()
    b, c = page["broadcast"], page["correction"]
    api.release("duty", b)
    api.release("chief", b)
    body = {"content": c["content"], "sentence": c["sentences"]["zh"]}
    correction = api.post("second", f"/api/broadcasts/{b['id']}/correct", body).json()
    assert (correction["broadcast"]["id"], correction["broadcast"]["state"]) == (c["id"], "on_air")
    assert correction["coverage"]["targeted"] == 3
    assert api.page(b["id"])["broadcast"]["state"] == "withdrawn"


def test_one_person_gives_the_all_clear(api: Api) -> None:
    page = api.fire()
    b, c = page["broadcast"], page["all_clear"]
    api.release("duty", b)
    body = {"content": c["content"], "sentence": c["sentences"]["en"]}
    assert api.post("chief", f"/api/broadcasts/{b['id']}/all-clear", body).json()["broadcast"]["state"] == "on_air"


def test_an_alert_that_was_never_on_air_has_nothing_to_correct(api: Api) -> None:
    page = api.fire()
    body = {"content": page["correction"]["content"], "sentence": page["correction"]["sentences"]["zh"]}
    assert refusal(api.post("duty", f"/api/broadcasts/{page['broadcast']['id']}/correct", body)) == (409, "wrong_state")


def test_a_correction_has_no_correction_of_its_own(api: Api) -> None:
    page = api.fire()
    body = {"content": page["correction"]["content"], "sentence": page["correction"]["sentences"]["zh"]}
    answer = api.post("duty", f"/api/broadcasts/{page['correction']['id']}/correct", body)
    assert refusal(answer) == (404, "not_found")


def test_unknown_broadcasts_are_not_found_on_every_address(api: Api) -> None:
    read = {"content": "0" * 64, "sentence": "无"}
    for path, body in (
        ("release", read),
        ("correct", read),
        ("all-clear", read),
        ("decline", {"why": "无"}),
        ("stop", {"why": "无"}),
        ("resume", None),
    ):
        assert refusal(api.post("duty", f"/api/broadcasts/unknown/{path}", body)) == (404, "not_found")
    assert refusal(api.get("duty", "/api/broadcasts/unknown")) == (404, "not_found")
    assert refusal(api.get("duty", "/api/broadcasts/unknown/expected")) == (404, "not_found")


def test_coverage_counts_what_speakers_have_shown(api: Api) -> None:
    b = api.storm()["broadcast"]
    api.release("duty", b)
    api.release("chief", b)
    with api.town.store.write() as tx:
        tx.heard([builders.live("square-1"), builders.live("square-2")])
        row = ReceiptRow("square-1", "j", 1, b["id"], 1, b"{}", NOON_US, playing_us=NOON_US, proved=True)
        tx.add_receipts([row])
    until = NOON_US + 3_600_000_000
    api.post("duty", "/api/speakers/mall-1/out-of-service", {"reason": "检修", "until": until})
    counts = api.page(b["id"])["coverage"]
    assert counts == {
        "targeted": 3,
        "in_service": 2,
        "online": 2,
        "playing": 1,
        "proved": 1,
        "finished": 0,
        "refused": 0,
        "failed": 0,
        "out_of_service": 1,
        "after_stop": 0,
    }


def test_expected_rows_come_in_pages_and_silent_ones_alone(api: Api) -> None:
    b = api.storm()["broadcast"]
    first = api.get("duty", f"/api/broadcasts/{b['id']}/expected", size=2).json()
    assert ([row["speaker"] for row in first["rows"]], first["next"]) == (["mall-1", "square-1"], "square-1")
    second = api.get("duty", f"/api/broadcasts/{b['id']}/expected", size=2, after=first["next"]).json()
    assert ([row["speaker"] for row in second["rows"]], second["next"]) == (["square-2"], None)
    with api.town.store.write() as tx:
        tx.add_receipts([ReceiptRow("mall-1", "j", 1, b["id"], 1, b"{}", NOON_US, playing_us=NOON_US)])
    silent = api.get("duty", f"/api/broadcasts/{b['id']}/expected", silent=True).json()
    assert [row["speaker"] for row in silent["rows"]] == ["square-1", "square-2"]


def test_the_list_is_filtered_by_state_and_phase(api: Api) -> None:
    b = api.fire()["broadcast"]
    api.release("duty", b)
    on_air = api.get("duty", "/api/broadcasts", state="on_air").json()
    assert ([row["id"] for row in on_air["broadcasts"]], on_air["more"]) == ([b["id"]], False)
    assert on_air["names"] == {"duty": "duty"}
    waiting = api.get("duty", "/api/broadcasts", state="draft", phase="alert").json()
    assert waiting["broadcasts"] == []


def test_a_person_who_was_switched_off_can_no_longer_release(api: Api) -> None:
    b = api.fire()["broadcast"]
    api.token("chief")
    people.set_enabled(api.town.store, name="chief", enabled=False, by="test")
    assert refusal(api.release("chief", b)) == (401, "not_logged_in")


def test_an_exercise_says_so_in_its_sentence(api: Api) -> None:
    page = api.alert_of(api.town.signal(builders.storm_signal(use=Use.EXERCISE)))
    assert page["broadcast"]["sentences"]["zh"].startswith("【演练】")
    assert page["broadcast"]["sentences"]["en"].startswith("EXERCISE: ")


def test_a_person_with_both_roles_is_still_one_person(api: Api) -> None:
    api.town.person("both", Role.DUTY_OFFICER, Role.APPROVER)
    token = api.log_in("both").json()["token"]
    api.client.cookies.clear()
    b = api.storm()["broadcast"]
    body = {"content": b["content"], "sentence": b["sentences"]["zh"]}
    headers = {"Authorization": f"Bearer {token}"}
    path = f"/api/broadcasts/{b['id']}/release"
    assert api.client.post(path, json=body, headers=headers).json()["broadcast"]["state"] == "draft"
    assert refusal(api.client.post(path, json=body, headers=headers)) == (409, "same_person")
