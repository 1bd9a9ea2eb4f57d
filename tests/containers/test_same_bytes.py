"""The same job natively and in its container image: the same bytes."""

import pytest

pytestmark = [pytest.mark.containers, pytest.mark.xdist_group("containers")]


def test_a_small_job_of_each_package_gives_the_same_bytes_in_its_image(native, boxes):
    boxes.run_small("local-container")
    assert boxes.small_digests() == native.small_digests()
    for bare, boxed in zip(native.small_cards(), boxes.small_cards(), strict=True):
        assert bare["image"] is None and boxed["image"].endswith(".sif")  # it did run in an image
        assert boxed["id"] == bare["id"], bare["paper"]  # the same job: configuration, sources, lock
    lock = boxes.folder / "containers/light.lock"
    lock.write_text(lock.read_text() + "\n")
    planned = boxes.plans_small("local-container")
    assert "dynts_train" in planned and "vrda_train" in planned  # another image, so they run again
    assert "svrpo_train" not in planned and "empg_train" not in planned
