"""The reject limit is met exactly."""

import pytest

from assay.domain.tally import Tally
from assay.pipeline.limit import RejectLimit


@pytest.mark.parametrize("hundredths", range(101))
def test_a_share_that_is_met_exactly_is_accepted(hundredths: int) -> None:
    """And one record more is not, whatever the share is as a binary number."""
    limit = RejectLimit(float(f"{hundredths / 100:.2f}"))
    for read in (100, 1_000, 1_700):
        rejected = hundredths * read // 100
        met = Tally(read=read, classified=read - rejected, rejected=rejected)
        assert not limit.is_exceeded("files", met, ended=True)
        if hundredths < 100:
            more = Tally(read=read, classified=read - rejected - 1, rejected=rejected + 1)
            assert limit.is_exceeded("files", more, ended=True)
