"""harness data labels: which labels of two datasets meet."""

from __future__ import annotations

import json


def test_labels_that_meet_are_shown_with_cautions_and_others_with_reasons(harness, tmp_path):
    (tmp_path / "labels.csv").write_text("path,patient,Pleural effusion,Bones\n1.png,p,1,0\n2.png,q,0,1\n3.png,r,0,1\n")
    code, out, _ = harness("data", "labels", "csv", "nih-cxr14", "--data-root", str(tmp_path))
    assert code == 0
    assert "1 of 2 labels of csv can be tested on nih-cxr14" in out
    assert "left out is Bones: the table of terms does not know this label" in out
    assert "only nih-cxr14 has Atelectasis" in out


def test_public_sets_need_no_data_and_json_holds_all(harness):
    code, out, _ = harness("data", "labels", "phantom", "nih-cxr14", "--json")
    found = json.loads(out)
    assert code == 0
    assert len(found["labels"]) == 14
    assert all(match["others"] for match in found["labels"])
    assert found["unused"] == []


def test_an_unknown_dataset_names_the_nearest(harness):
    code, _, err = harness("data", "labels", "phantom", "nih-cxr41")
    assert code == 2
    assert "nih-cxr14" in err
